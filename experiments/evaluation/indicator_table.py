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
  records = [r for r in records if r['kind'] != types.AnnotationKind.NONE]
  if not records:
    return {'num_weak': 0, 'num_faulty': 0}
  ids = input_pipeline.column(records, 'instance_id')
  faults = input_pipeline.column(records, 'fault')
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
) -> None:
  """Writes one CSV line per weak instance, the lowest indicator first.

  Args:
    path: CSV file to write.
    weights: indicators of all weak instances, float [N]; with those of classes,
      float [N, K - 1], the table has their mean, and a column for each class.
    num_updates: how often each indicator has moved, int of the same shape.
    records: weak training records.
    classes: names of the classes; only indicators of classes need them.
  """
  by_class = class_indicators.columns(weights, classes)
  weights, num_updates = indicators_lib.of_instances(
      indicators_lib.IndicatorState(weights, num_updates))
  ids = input_pipeline.column(records, 'instance_id')
  columns = {
      name: input_pipeline.column(records, name)
      for name in ('id', 'kind', 'fault', 'quality')
  }
  rows = [
      [
          columns['id'][n],
          f'{weights[ids[n]]:.6f}',
          int(num_updates[ids[n]]),
          types.AnnotationKind(int(columns['kind'][n])).name.lower(),
          columns['fault'][n],
          scoring.cell(columns['quality'][n]),
          *(f'{column[ids[n]]:.6f}' for column in by_class.values()),
      ]
      for n in range(len(records))
  ]
  rows.sort(key=lambda row: (float(row[1]), row[0]))
  header = ['id', 'indicator', 'num_updates', 'kind', 'fault', 'quality',
            *by_class]
  csv_files.write_csv(path, header, rows)
