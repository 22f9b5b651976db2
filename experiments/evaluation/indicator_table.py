"""Summarizes the indicators of a run, and writes them as a table."""

from collections.abc import Sequence
from typing import Any

from hybridseg import indicators as indicators_lib
from hybridseg import metrics as metrics_lib
from hybridseg import types
import numpy as np

from experiments import csv_files
from experiments.building import class_indicators
from experiments.building import input_pipeline
from experiments.evaluation import scoring


def summarize(
    weights: np.ndarray,
    num_updates: np.ndarray,
    records: Sequence[dict[str, Any]],
) -> dict[str, Any]:
  """Measures how well the indicators find the planted faults, if any are known.

  Args:
    weights: indicators of all weak instances, float [N]; those of classes,
      float [N, K - 1], are averaged.
    num_updates: how often each indicator has moved, int of the same shape.
    records: weak training records; `fault` names the planted fault, or is ''.

  Returns:
    Numbers of weak and faulty instances, and the mean indicator. If some are
    faulty and the indicators have moved, also `auroc`, the probability that a
    faulty instance has a lower indicator than a good one; `auroc_by_fault`; and
    the mean indicators of both groups.
  """
  # Leave out images without an annotation: their indicators mean nothing.
  has_label = input_pipeline.column(
      records, 'kind') != types.AnnotationKind.NONE
  if not has_label.any():
    return {'num_weak': 0, 'num_faulty': 0}
  ids = input_pipeline.column(records, 'instance_id')[has_label]
  faults = input_pipeline.column(records, 'fault')[has_label]
  weights = np.asarray(class_indicators.of_instances(weights))[ids]
  faulty = faults != ''
  summary = {
      'num_weak': len(ids),
      'num_faulty': int(faulty.sum()),
      'mean': float(weights.mean()),
  }
  if faulty.any() and not faulty.all() and np.any(num_updates):
    summary['auroc'] = metrics_lib.auroc(-weights, faulty)
    summary['auroc_by_fault'] = {
        str(fault): metrics_lib.auroc(
            -weights[~faulty | (faults == fault)],
            faulty[~faulty | (faults == fault)],
        )
        for fault in sorted(set(faults[faulty]))
    }
    summary['mean_good'] = float(weights[~faulty].mean())
    summary['mean_faulty'] = float(weights[faulty].mean())
  return summary


def write(
    path: str,
    weights: np.ndarray,
    num_updates: np.ndarray,
    records: Sequence[dict[str, Any]],
    classes: Sequence[str] = (),
) -> str:
  """Writes one CSV line per weak instance, the lowest indicator first.

  If there are too many, `csv_files.write_columns` has all.

  Args:
    path: CSV file to write.
    weights: indicators of all weak instances, float [N]; with those of classes,
      float [N, K - 1], the table has their mean, and a column for each class.
    num_updates: how often each indicator has moved, int of the same shape.
    records: weak training records.
    classes: names of the classes; only indicators of classes need them.

  Returns:
    The sentence of `csv_files.write_columns`, or ''.
  """
  by_class = class_indicators.columns(weights, classes)
  weights, num_updates = indicators_lib.of_instances(
      indicators_lib.IndicatorState(weights, num_updates))
  ids = input_pipeline.column(records, 'instance_id').astype(int)
  kinds = {int(kind): kind.name.lower() for kind in types.AnnotationKind}
  columns = {
      'id': input_pipeline.column(records, 'id'),
      'indicator': weights[ids],
      'num_updates': num_updates[ids],
      'kind': np.array([kinds[kind] for kind in input_pipeline.column(
          records, 'kind').astype(int).tolist()], str),
      'fault': input_pipeline.column(records, 'fault'),
      'quality': input_pipeline.column(records, 'quality'),
      **{name: column[ids] for name, column in by_class.items()},
  }
  shown = np.lexsort((columns['id'], columns['indicator']))
  digits = lambda x: f'{x:.6f}'
  formats = dict.fromkeys(('indicator', *by_class), digits) | {
      'num_updates': int, 'quality': scoring.cell}
  rows = [[formats.get(name, str)(column[n])
           for name, column in columns.items()]
          for n in shown[:csv_files.MOST_ROWS].tolist()]
  rows.sort(key=lambda row: (float(row[1]), row[0]))
  csv_files.write_csv(path, [*columns], rows)
  return csv_files.write_columns(path, columns)
