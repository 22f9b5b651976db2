"""Writes the reports of train, evaluate and audit, each as one HTML file.

A report needs no internet connection, and the browser may run no script in it
except the report's own.
"""

from collections.abc import Mapping, Sequence
import os
from typing import Any, NamedTuple

from data_prep.shared import html_page
from data_prep.shared import html_plots
from hybridseg import types
import numpy as np

from experiments import csv_files
from experiments.building import input_pipeline
from experiments.evaluation import scoring
from experiments.reports import blocks
from experiments.reports import first_screen
from experiments.reports import sections
from experiments.reports import wording
from experiments.saving import indicator_history
from experiments.saving import session as session_lib

_SHOWN = ('dice', 'iou', 'hd95')  # Metrics of each case of a training report.
_ALIGNMENT = (
    '<p class="dim">Alignment, over a grey image: red pixels harm the strong '
    'loss, blue ones help it.</p>')


class AuditSummary(NamedTuple):
  """The findings of an audit about all instances together.

  Attributes:
    facts: numbers to show first, such as {'instances': 493, 'suspects': 100}.
    tables: maps the name of each table, such as 'By kind', to its rows. All
      rows of a table have the same keys; the first key holds the row heading.
    kinds: kind of each instance, [N].
    faults: planted fault of each instance, [N], '' if none; [] if none is
      known.
    steps: steps at which `history` and `health` were recorded, int [T].
    history: indicators of all weak instances at these steps, T times float [M].
    rows: which of them the N instances have, int [N].
    health: maps the name of each statistic of the indicators, such as their
      mean, to its values at these steps, [T].
  """

  facts: Mapping[str, Any]
  tables: Mapping[str, Sequence[Mapping[str, Any]]]
  kinds: Sequence[str]
  faults: Sequence[str]
  steps: np.ndarray
  history: Sequence[np.ndarray]
  rows: np.ndarray
  health: Mapping[str, Sequence[float]]


class TrainedRun(NamedTuple):
  """A finished run.

  Attributes:
    results: content of metrics.json.
    lines: lines of log.jsonl.
    history: indicators of all weak instances at each evaluation.
    config: config of the run, as nested dicts.
    sessions: the sessions that run.json lists.
    dataset: the set that the run was trained on.
    weights: final indicators of all weak instances, float [N].
  """

  results: Mapping[str, Any]
  lines: Sequence[Mapping[str, Any]]
  history: indicator_history.History
  config: Mapping[str, Any]
  sessions: Sequence[Mapping[str, Any]]
  dataset: input_pipeline.Dataset
  weights: np.ndarray


def write_train_report(
    path: str | os.PathLike[str],
    run: TrainedRun,
    *,
    weak_rows: Sequence[int],
    weak_predictions: Sequence[np.ndarray],
    test_scores: Mapping[str, np.ndarray],
    test_predictions: Sequence[np.ndarray],
) -> None:
  """Writes the report of a finished run.

  Args:
    path: HTML file to write.
    run: the run.
    weak_rows: positions in train_weak of the instances to show, least trusted
      first.
    weak_predictions: predictions for these instances, uint8
      [len(weak_rows), H, W].
    test_scores: maps each metric to the scores of the M test images, float
      [M, K].
    test_predictions: predictions for the test images, uint8 [M, H, W].

  Raises:
    OSError: if the file cannot be written.
  """
  dataset, results, weights = run.dataset, run.results, run.weights
  classes, weak_records = dataset.classes, dataset.splits['train_weak']
  column = lambda name: input_pipeline.column(weak_records, name)
  ids, faults = column('instance_id'), column('fault')
  found = {k: v for k, v in results.items()
           if isinstance(v, Mapping) and k != 'seconds'}
  weak = [
      _weak_item(weak_records[row], prediction, weights)
      for row, prediction in zip(weak_rows, weak_predictions, strict=True)]
  ranked = _worst_first(_evaluated(
      dataset.splits['test'], classes, test_scores, test_predictions))
  page = blocks.page(
      f'{dataset.name}: training, {results["step"]} steps',
      [sections.legend(classes)], [
          first_screen.section(
              results, run.lines, ranked.known,
              weak if len(set(weights[ids])) > 1 else (),
              num_weak=len(weak_records)),
          sections.section('Results', blocks.tables(found))._replace(
              is_printed=True),
          sections.section('Curves', sections.curves(run.lines)),
          sections.section('Indicators', html_plots.side_by_side(
              *sections.indicator_plots(
                  run.history.steps, run.history, ids, _kinds(weak_records),
                  faults),
              sections.quality_plot(weights[ids], column('quality'), faults))),
          *_case_sections(ranked, 'cases_test.csv lists all.'),
          sections.section(
              'Weak instances, least trusted first',
              sections.cases_list(
                  weak, label='instance', sorted_by='indicator',
                  total_bytes=sections.SHORT_LIST_BYTES),
              note=f'{len(weak)} of {len(weak_records)}; {_has_all(weights)} '
              'has all.'),
          # Reports may be sent to others, and so must not show local paths.
          sections.details(session_lib.without_paths(
              {'Run': {k: v for k, v in results.items() if k not in found},
               'Config': run.config} | {
                  f'Session {i}': s for i, s in enumerate(run.sessions, 1)})),
      ])
  html_page.write(path, page)


def write_evaluation_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    classes: Sequence[str],
    results: Mapping[str, Any],
    cases: Sequence[scoring.EvaluatedCase],
) -> None:
  """Writes the report of an evaluation.

  Cases are sorted, worst first, by their mean Dice: the mean of all their
  scores whose names begin with 'dice'.

  Args:
    path: HTML file to write.
    title: title such as 'phantom: test, step 400'.
    classes: names of the K classes; index 0 is the background.
    results: tree of numbers; a pair of numbers is an interval.
    cases: cases in any order.

  Raises:
    OSError: if the file cannot be written.
  """
  page = blocks.page(title, [sections.legend(classes)], [
      sections.section('Results', blocks.tables(results)),
      *_case_sections(_worst_first(cases), 'The CSV file lists all cases.'),
  ])
  html_page.write(path, page)


def write_audit_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    classes: Sequence[str],
    summary: AuditSummary,
    suspects: Sequence[sections.Item],
) -> None:
  """Writes the report of an audit.

  Args:
    path: HTML file to write.
    title: title such as 'phantom: audit of 493 weak instances'.
    classes: names of the K classes; index 0 is the background.
    summary: findings about all instances.
    suspects: suspect instances, in the order to show them; only the first 1,000
      are shown. One of their values is 'rank'.

  Raises:
    OSError: if the file cannot be written.
  """
  page = blocks.page(title, [sections.legend(classes), _ALIGNMENT], [
      sections.section('Summary', blocks.tables(summary.facts)),
      sections.section('Groups', sections.lines_tables(summary.tables)),
      sections.section('Indicators', html_plots.side_by_side(
          *sections.indicator_plots(
              summary.steps, summary.history, summary.rows, summary.kinds,
              summary.faults),
          html_plots.lines(
              'Health of the indicators',
              {wording.words(n): (summary.steps, v)
               for n, v in summary.health.items()}, x_label='step'))),
      sections.section(
          'First suspects', sections.gallery(suspects[:sections.NUM_GALLERY])),
      sections.section('All suspects', sections.cases_list(
          suspects, label='instance', sorted_by='rank',
          total_bytes=sections.LIST_BYTES)),
  ])
  html_page.write(path, page)


class _Ranked(NamedTuple):
  """Items of cases, worst first."""

  known: list[sections.Item]  # Those with a mean Dice.
  unknown: list[sections.Item]


def _case_sections(ranked, more):
  """Returns sections that list the worst cases, the best ones, and all."""
  known = ranked.known
  items = known + ranked.unknown
  num = sections.NUM_GALLERY
  best = known[num:][::-1][:num]  # Skip the worst cases.
  names = [n for item in items[:1] for n in item.values if _is_dice(n)]
  return (
      sections.section('Worst cases', sections.gallery(known[:num])),
      sections.section('Best cases', sections.gallery(best)),
      sections.section('All cases, worst first', sections.cases_list(
          items, label='case', sorted_by=names[0] if names else '',
          total_bytes=sections.LIST_BYTES, more=more)))


def _worst_first(cases):
  """Ranks cases by their mean Dice."""
  ranks = [_mean_dice(case.scores) for case in cases]
  order = np.argsort(ranks, kind='stable')  # Cases with a nan come last.
  items = [_case_item(cases[i], ranks[i]) for i in order]
  number = int(np.isfinite(ranks).sum())
  return _Ranked(items[:number], items[number:])


def _is_dice(name):
  return name.startswith('dice')


def _mean_dice(scores):
  dice = [v for n, v in scores.items()
          if _is_dice(n) and np.isfinite(v)]
  return float(np.mean(dice)) if dice else float('nan')


def _case_item(case, mean_dice):
  values = {'subject': case.subject} if case.subject else {}
  if sum(map(_is_dice, case.scores)) > 1:
    values['dice'] = mean_dice
  layers = {'truth': case.truth, 'prediction': case.prediction}
  return sections.Item(case.id, values | dict(case.scores), case.image,
                       layers | dict(case.maps))


def _evaluated(records, classes, scores, predictions):
  """Returns the images of a split with their scores and predictions.

  Args:
    records: records of the split.
    classes: names of the K classes.
    scores: maps each metric to the scores of the images, float [N, K].
    predictions: predicted classes, uint8 [N, H, W].
  """
  shown = {name: scores[name] for name in _SHOWN if name in scores}
  ids = input_pipeline.column(records, 'id')
  subjects = input_pipeline.column(records, 'subject')
  return [
      scoring.EvaluatedCase(
          ids[n], subjects[n],
          scoring.named_scores({m: v[n] for m, v in shown.items()}, classes),
          record['image'], record['truth'], predictions[n])
      for n, record in enumerate(records)]


def _has_all(weights):
  """Returns the name of the file that lists all N indicators."""
  name = 'indicators.csv'
  return name if len(weights) <= csv_files.MOST_ROWS else csv_files.beside(name)


def _kinds(records):
  return [types.AnnotationKind(int(k)).name.lower()
          for k in input_pipeline.column(records, 'kind')]


def _weak_item(record, prediction, weights):
  one = lambda name: input_pipeline.column([record], name)[0]
  values = {'indicator': float(weights[record['instance_id']]),
            'kind': _kinds([record])[0], 'fault': str(one('fault')),
            'quality': float(one('quality'))}
  layers = {'weak label': record['label'], 'prediction': prediction}
  if (record['truth'] != types.UNLABELLED).any():
    layers['truth'] = record['truth']
  return sections.Item(str(one('id')), values, record['image'], layers)


def harm_map(alignment: np.ndarray) -> np.ndarray:
  """Returns the negative alignment, scaled so that 99 % of it is in [-1, 1].

  Positive values mark harmful pixels. The scale is a quantile and not the
  maximum, because a few pixels are far above all others.

  Args:
    alignment: alignment of each pixel's weak gradient with the strong one,
      float [H, W].
  """
  harm = -np.where(np.isfinite(alignment), alignment, 0)
  # Skip zeros: most pixels of an image with a scribble have no alignment.
  sizes = np.abs(harm[harm != 0])
  return harm / (np.quantile(sizes, 0.99) if sizes.size else 1)
