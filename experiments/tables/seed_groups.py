"""Averages runs that differ only in the seed, and compares such results.

A result is one run, or a group of such runs; its score on a case is the mean
over the runs. The intervals of results and of their differences resample seeds
as well as subjects, by the pigeonhole bootstrap of
`experiments.tables.sweep_statistics`. If two results have the same seeds, a
resample draws the same seeds for both.
"""

from collections.abc import Sequence
import json
import os
import re
from typing import Any, NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np

from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.tables import cases as cases_lib
from experiments.tables import paired
from experiments.tables import right_empty
from experiments.tables import sweep_statistics


class Group(NamedTuple):
  """One result: a run, or the mean of several runs.

  Attributes:
    name: name of the result.
    rows: positions of its S runs in the list of all runs.
    seeds: seeds of these runs, S numbers; () for a single run.
  """

  name: str
  rows: tuple[int, ...]
  seeds: tuple[int, ...] = ()


def find(
    results: Sequence[str], paths: Sequence[str]
) -> tuple[list[list[int]], list[str]]:
  """Groups the runs whose configs differ only in the seed.

  Args:
    results: folder or file of each of R runs, as the user names it.
    paths: path of each run's table of scores. The config of the run is read
      from config.json in the same folder. A run without this file is a group of
      its own.

  Returns:
    The positions of each group's runs, with the groups in the order of their
    first runs; and messages for the user about runs that are not averaged
    because several of them have the same seed.
  """
  by_key, lines = {}, []
  for row, path in enumerate(paths):
    key = _config_without_seed(os.path.dirname(path)) or ('alone', row)
    by_key.setdefault(key, []).append(row)
  groups = []
  for rows in by_key.values():
    seeds = seeds_of([paths[row] for row in rows])
    if len(set(seeds)) < len(rows):
      if len(rows) > 2:
        lines.append(
            f'{results[rows[0]]} and {len(rows) - 1} others have one config, '
            'and some of them one seed: each stands alone. --names with one '
            'name for several takes the mean of these.')
      groups += [[row] for row in rows]
    else:
      groups.append(rows)
  return sorted(groups), lines


def seeds_of(paths: Sequence[str]) -> tuple[int | str, ...]:
  """Returns each run's seed, or the path of its table if it has no config."""
  seeds = []
  for path in paths:
    config = _config(os.path.dirname(path))
    seeds.append(config['seed'] if config else path)
  return tuple(seeds)


def note_warm_starts(
    results: Sequence[str], paths: Sequence[str]
) -> list[str]:
  """Returns a note for each result that started from another one of them.

  Args:
    results: folder or file of each run, as the user names it.
    paths: path of each run's table of scores.
  """
  folders = [os.path.realpath(os.path.dirname(path)) for path in paths]
  lines = []
  for result, path in zip(results, paths, strict=True):
    start = (_config(os.path.dirname(path)) or {}).get('warm_start')
    if start and os.path.realpath(start) in folders:
      lines.append(
          f'{result} started from {start}, so that more steps alone may '
          'explain what it gains: compare it with a run that also started '
          'there, on the same set as before.')
  return lines


def _config(folder):
  """Returns the config of the run in a folder, or None if there is no run."""
  path = os.path.join(folder, 'config.json')
  if not os.path.exists(path):
    return None
  config = run_schema.read(path)
  is_run = isinstance(config, dict) and {'seed', 'input'} <= config.keys()
  return run_schema.upgraded(config, path) if is_run else None


def _config_without_seed(folder):
  """Returns a string that is equal for runs that differ only in the seed.

  It is '' if the folder is not a run.
  """
  config = _config(folder)
  if config is None:
    return ''
  seed = str(config['seed'])
  config = {k: v for k, v in config.items() if k not in ('seed', 'compare')} | {
      'input': dict(config['input'])}
  # Runs that were trained on equal records belong together, even if the records
  # were moved: compare fingerprints in place of paths.
  for session in run_folder.read_sessions(folder)[:1]:
    config['input']['data_dir'] = session.get('dataset_fingerprint')
  return json.dumps(_without_number(config, seed), sort_keys=True)


def _without_number(value, seed):
  """Replaces the seed by * in paths such as runs/dii/seed0/audit/audit.csv.

  Args:
    value: part of a config, which may be nested.
    seed: the seed, as text.
  """
  if isinstance(value, dict):
    return {k: _without_number(v, seed) for k, v in value.items()}
  if isinstance(value, str) and '/' in value:
    return re.sub(rf'(seed[_=-]?|(?<=/)){seed}(?=[/._-]|$)', r'\1*', value)
  return value


def choose_names(
    groups: Sequence[Sequence[int]], results: Sequence[str]
) -> list[str]:
  """Returns a name for each group, made from the path that its runs share.

  Args:
    groups: positions of the runs of each group.
    results: folder or file of each run, as the user names it.
  """
  shared = []
  any_mean = any(len(rows) > 1 for rows in groups)
  for rows in groups:
    path = os.path.normpath(results[rows[0]])
    if len(rows) == 1 and any_mean:
      path = re.sub(r'(?<=.)/seed_?\d+$', '', path)
    elif len(rows) > 1:
      path = os.path.commonprefix(
          [os.path.normpath(results[row]) for row in rows])
      path = re.sub(r'([_=.\-/]*(seed)?[_=.\-/]*\d*)$', '', path)
    if not os.path.basename(path) or path in shared:
      path = os.path.normpath(results[rows[0]])
    shared.append(path)
  return cases_lib.choose_names(shared)


class Comparison(NamedTuple):
  """The comparison of G results on N cases.

  Attributes:
    results: scores of the G results, each the mean over its runs.
    scores: score of each case, in which right empties have the best score,
      float [G, N].
    report: report of `paired.compare`; results of several seeds also have
      `seeds`, `mean_by_seed` and `sd`.
  """

  results: cases_lib.Aligned
  scores: np.ndarray
  report: dict[str, Any]


def compare(
    aligned: cases_lib.Aligned, groups: Sequence[Group], *, metric: str
) -> Comparison:
  """Compares the means of groups of runs, pair by pair.

  Right empties (see `right_empty`) are found in each run, before averaging.

  Args:
    aligned: scores of all runs.
    groups: for each result, the runs that are averaged.
    metric: a key of `metric_table.TABLE`.
  """
  found = right_empty.pair(aligned, metric=metric)
  rows = [list(group.rows) for group in groups]
  results = _averaged(aligned, groups)
  # The plain mean over runs is right: `right_empty.pair` leaves each cell nan
  # either in all runs or in none.
  merged = right_empty.Paired(
      np.array([found.scores[r].mean(axis=0) for r in rows]),
      *(np.array([x[r].any(axis=0) for r in rows])
        for x in (found.right_empty, found.unscored)), found.absent)
  report = paired.compare(results, merged, metric=metric)
  alone = metrics_lib.mean_of_counted(aligned.scores, axis=-1)
  together = right_empty.case_scores(found)
  for result, group in zip(report['results'], groups, strict=True):
    if len(group.rows) > 1 and result['mean'] is not None:
      result.update(_describe(alone, together, aligned.groups, group))
  by_name = {group.name: group for group in groups}
  for pair in report['pairs']:
    chosen = [by_name[pair[name]] for name in ('first', 'second')]
    if pair['num_cases'] and any(len(group.rows) > 1 for group in chosen):
      _add_seeds(pair, chosen, together, found.scores, aligned.groups)
      pair['verdict'], pair['words'] = paired.judge(
          pair, higher_is_better=report['higher_is_better'])
  return Comparison(results, right_empty.case_scores(merged), report)


def _averaged(aligned, groups):
  """Merges each group of runs into one result, with the mean scores."""
  rows = [list(group.rows) for group in groups]
  return aligned._replace(
      names=tuple(group.name for group in groups),
      scores=np.array([metrics_lib.mean_of_counted(aligned.scores[r], axis=0)
                       for r in rows]),
      num_left_out=tuple(
          max(aligned.num_left_out[i] for i in r) for r in rows),
      classes_left_out=tuple(
          tuple(dict.fromkeys(
              c for i in r for c in aligned.classes_left_out[i]))
          for r in rows),
      unproven=None)


def _describe(alone, together, subjects, group):
  rows = list(group.rows)
  found = sweep_statistics.describe(alone[rows], subjects)
  interval = sweep_statistics.bootstrap_interval(together[rows], subjects)
  return {
      'seeds': list(group.seeds), 'mean_by_seed': found.by_seed.tolist(),
      'mean': found.mean, 'sd': found.sd,
      'interval_95': list(found.interval),
      'paired_interval_95': list(interval)}


def _add_seeds(pair, chosen, scores, class_scores, subjects):
  """Replaces the intervals of a pair by intervals that also resample seeds.

  Args:
    pair: comparison of two results, which is changed in place.
    chosen: the groups of both results.
    scores: score of each case of all runs, float [R, N].
    class_scores: the same scores by class, float [R, N, K].
    subjects: index of each case's subject, int [N].
  """
  # With --names, a group can have the same seed twice. Its runs are then told
  # apart by their positions.
  first, second = (
      dict(zip(g.seeds if len(set(g.seeds)) == len(g.rows) else g.rows, g.rows,
               strict=True)) for g in chosen)
  same_seeds = bool(chosen[0].seeds) and first.keys() == second.keys()
  if same_seeds:  # Order the runs of both groups by seed in the same way.
    second = {seed: second[seed] for seed in first}
  interval = lambda values: list(difference_interval(
      values[[*first.values()]], values[[*second.values()]], subjects,
      same_seeds=same_seeds))
  pair['interval_95'] = interval(scores)
  for c, entry in enumerate(pair['per_class'].values()):
    if entry['num_cases']:
      entry['interval_95'] = interval(class_scores[..., c])


def difference_interval(
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    *,
    same_seeds: bool,
) -> tuple[float, float]:
  """Returns the 95 % interval of the mean of second - first.

  Each resample draws subjects and seeds. The subjects are the same for both
  results. The seeds are also the same if both results have the same seeds;
  otherwise they are drawn separately for each result.

  Args:
    first: scores of the S runs of the first result, float [S, N]; nan where a
      case does not count.
    second: scores of the T runs of the second result, float [T, N].
    groups: index of each case's subject, int [N].
    same_seeds: whether row k of `first` has the seed of row k of `second`.

  Returns:
    Lower and upper end of the interval.
  """
  # Leave out cases that count in only one of the results.
  counted = ~np.isnan(first).all(axis=0) & ~np.isnan(second).all(axis=0)
  first, second, groups = first[:, counted], second[:, counted], groups[counted]
  if same_seeds:
    return sweep_statistics.bootstrap_interval(second - first, groups)
  return sweep_statistics.bootstrap_interval(second, groups, minus=first)
