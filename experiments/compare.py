r"""Compares evaluated results case by case, and states which one is better.

python -m experiments.compare --results=runs/a,runs/b
python -m experiments.compare --results=a.csv,b.csv,c.csv --names=old,new,big \
    --metric=hd95 --split=val --output=comparison

Each entry of --results is the folder of a run, the output folder of
`experiments.evaluate`, or a CSV file with scores per case from either. Cases
are paired by id; the score of a case is the mean over the foreground classes.
If a class is in neither the prediction nor the reference of a case, it counts
with the best possible score (1, or 0 for distances), so that a result that
wrongly predicts this class ranks below one that does not. The mean of a single
result, as `evaluate` computes it, leaves such classes out. Both means are
printed.

Runs on the same set whose configs differ only in the seed are averaged and
count as one result. To average other entries, give them the same name in
--names; to average none, give each its own name.

Prints the means of each result. Compares all pairs of results, or, with more
than four results, the first with each of the others. For each pair, it prints
the mean paired difference, with a 95 % bootstrap interval that resamples whole
subjects; the p-value of a permutation test that flips whole subjects, adjusted
for the number of pairs (Holm); wins, ties and losses; and the same for each
class, without p-values. A result is called better if p <= 0.05 and the interval
excludes 0; otherwise the data cannot tell. All of this is also written to
OUTPUT/comparison.html and OUTPUT/comparison.json, and the paired scores to
OUTPUT/comparison.csv.

If a result has several seeds, its intervals resample the seeds, too. If it has
only one seed, the p-value and the interval do not show how much another seed
would change the result.

What a review has gained, on the validation split:

python -m experiments.compare --results=runs/longer,runs/corrected \
    --split=val --evaluate --output=comparison

Both runs start from the same earlier one (`warm_start`) and take as many steps,
on the set without and with the decisions. The earlier run itself is no fair
comparison, as more steps alone gain something; a note says so. --evaluate first
evaluates the runs, as `experiments.evaluate` does.
"""

import os

from absl import flags
from data_prep.shared import early_help

from experiments.evaluation import metric_table

_RESULTS = flags.DEFINE_list(
    'results', None, 'Two or more folders of runs, or CSV files.')
_NAMES = flags.DEFINE_list(
    'names', None, 'Names of the results: one for each of --results or, where '
    'seeds are averaged, one for each mean; default is made from the paths.')
_METRIC = flags.DEFINE_enum(
    'metric', 'dice', list(metric_table.TABLE), 'What to compare.')
_SPLIT = flags.DEFINE_enum(
    'split', 'test', ('val', 'test'), 'Split to compare, for folders.')
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Folder for the page, comparison.json and comparison.csv.')
_EVALUATE = flags.DEFINE_bool(
    'evaluate', False, 'Evaluate the newest checkpoints of the runs on --split '
    'first; all results are then folders of runs.')

early_help.answer(__name__)  # Answer --help before the slow imports.

from data_prep.shared import grammar
from data_prep.shared import system_errors
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.reports import comparison
from experiments.saving import run_folder
from experiments.tables import cases
from experiments.tables import paired
from experiments.tables import seed_groups


def _groups(paths):
  """Groups the runs that are averaged and then count as one result.

  If --names has one name per run, runs of the same name form a group;
  otherwise, runs form a group if their configs differ only in the seed.

  Args:
    paths: path of each run's table of scores.

  Returns:
    The groups, and messages for the user.
  """
  rows, lines = seed_groups.find(_RESULTS.value, paths)
  names = _NAMES.value
  if names is None:
    names = seed_groups.choose_names(rows, _RESULTS.value)
  elif len(names) == len(paths):
    rows, lines = [
        [i for i, other in enumerate(names) if other == name]
        for name in dict.fromkeys(names)], []
    names = [*dict.fromkeys(names)]
  elif len(names) != len(rows):
    there = grammar.counted(len(paths), 'result')
    if len(rows) < len(paths):
      there += f', or {len(rows)} where seeds are one result'
    raise binary.UserError(f'--names: {len(names)} for {there}.')
  if len({*names, 'id', 'subject', ''}) < len(names) + 3:
    raise binary.UserError(
        "--names: must differ, and none may be empty, 'id' or 'subject'.")
  if len(rows) < 2:
    lines.append('All are seeds of one result: nothing to compare it with.')
  return [
      seed_groups.Group(name, tuple(r), seed_groups.seeds_of(
          [paths[i] for i in r]) if len(r) > 1 else ())
      for name, r in zip(names, rows, strict=True)], lines


def _shown(text):
  """Returns a string, escaped if it has line breaks or control characters."""
  return text if text.isprintable() else repr(text)


def _span(interval):
  return '-' if interval is None else f'{interval[0]:.4g} to {interval[1]:.4g}'


def print_report(report):
  """Prints the mean of each result, and then the comparison of each pair."""
  better = 'higher' if report['higher_is_better'] else 'lower'
  print(f'{report["metric"]} ({better} is better) on '
        f'{grammar.counted(report["num_cases"], "common case")} of '
        f'{grammar.counted(report["num_subjects"], "subject")}.\n')
  width = max(6, *(len(_shown(r['name'])) for r in report['results']))
  print(f'{"result":{width}s}  {"paired":>8s}  {"95 % interval":>20s}  '
        f'{"alone":>8s}  {"95 % interval":>20s}  cases')
  number = lambda mean: '-' if mean is None else f'{mean:.4g}'
  for r in report['results']:
    print(f'{_shown(r["name"]):{width}s}  {number(r["paired_mean"]):>8s}  '
          f'{_span(r["paired_interval_95"]):>20s}  {number(r["mean"]):>8s}  '
          f'{_span(r["interval_95"]):>20s}  {r["num_cases_counted"]:5d}'
          f'{_seeds(r)}')
  for pair in report['pairs']:
    print(f'\n{_shown(pair["words"])}')
    _print_counts(pair, '', pair['second'])
    if len(pair['per_class']) > 1:
      for name, scores in pair['per_class'].items():
        _print_counts(scores, f'{_shown(name)}: ', pair['second'])
  for line in report['warnings']:
    print(f'\nNote: {_shown(line)}', end='')
  print()


def _seeds(result):
  """Returns a result's number of seeds, and its SD over them, as a string."""
  if 'mean_by_seed' not in result:
    return ''
  return (f'  mean of {len(result["mean_by_seed"])} seeds, SD '
          f'{result["sd"]:.2g}')


def _print_counts(scores, label, second):
  mean = scores['difference']
  print(f'  {label}{"-" if mean is None else format(mean, "+.4g")} '
        f'({_span(scores["interval_95"])}); {scores["wins"]} wins, '
        f'{scores["ties"]} ties, {scores["losses"]} losses of '
        f'{_shown(second)}')


def _write(aligned, scores, report):
  try:
    os.makedirs(_OUTPUT.value, exist_ok=True)
    run_folder.write_json(
        os.path.join(_OUTPUT.value, 'comparison.json'), report)
    comparison.write(
        os.path.join(_OUTPUT.value, 'comparison.html'), report,
        ids=aligned.ids, scores=scores)
    csv_files.write_csv(
        os.path.join(_OUTPUT.value, 'comparison.csv'),
        ['id', 'subject', *aligned.names],
        [[i, s, *('' if np.isnan(x) else f'{x:.6f}' for x in scores)]
         for i, s, scores in zip(
             aligned.ids, aligned.subjects, scores.T, strict=True)])
  except OSError as e:
    raise binary.UserError(
        f'--output: {system_errors.in_words(e, _OUTPUT.value)}') from e


def _evaluate():
  """Evaluates each run, so that all have scores of the same kind."""
  from absl import logging  # These imports are slow.
  from experiments.evaluation import finished_run
  logging.set_verbosity(logging.WARNING)
  for run in dict.fromkeys(_RESULTS.value):
    print(f'Evaluating {run} on {_SPLIT.value} ...', flush=True)
    finished_run.evaluate_run(run, _SPLIT.value)


def main():
  if len(_RESULTS.value) < 2:
    raise binary.UserError('--results: give two or more, with commas between.')
  if _EVALUATE.value:
    _evaluate()
  paths = cases.find_files(_RESULTS.value, _SPLIT.value)
  groups, lines = _groups(paths)
  runs = cases.align([
      cases.read_cases(path, name=path, metric=_METRIC.value)
      for path in paths])
  aligned, scores, report = seed_groups.compare(
      runs, groups, metric=_METRIC.value)
  report['warnings'] = (
      lines + cases.differences(paths)
      + seed_groups.note_warm_starts(_RESULTS.value, paths)
      + paired.warnings(aligned, report))
  for result, group in zip(report['results'], groups, strict=True):
    result['files'] = [paths[row] for row in group.rows]
  if _OUTPUT.value:
    _write(aligned, scores, report)
  print_report(report)


if __name__ == '__main__':
  flags.mark_flags_as_required(['results'])
  binary.run(main)
