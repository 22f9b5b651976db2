"""Evaluation of a state on a split, and what a run reports of it."""

from collections.abc import Callable, Sequence
import csv
import os
from typing import Any

from hybridseg import metrics as metrics_lib
from hybridseg import types
import jax
import numpy as np

from experiments import input_pipeline


def evaluate_records(
    eval_fn: Callable[..., Any],
    params: Any,
    records: Sequence[dict[str, Any]],
    *,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Predicts all records against their `truth`.

  Args:
    eval_fn: a `train_step.make_eval_step` on the devices of this process.
    params: the two parameter sets.
    records: a split.
    batch_size: images per call, over the devices of this process.

  Returns:
    Predictions, uint8 [N, H, W], and counts, float32 [N, K, 3], in the order of
    the records.
  """
  outputs = []
  for batch in input_pipeline.eval_batches(records, batch_size):
    outputs.append(jax.device_get(eval_fn(params, batch)))
  predictions, counts = (
      np.concatenate(part)[: len(records)]
      for part in zip(*outputs, strict=True)
  )
  return predictions, counts


def summarize(
    counts: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
  """Reduces counts per case to the numbers of a report.

  Dice and IoU per case and class, then the mean over the cases that count;
  `dice` is the mean over foreground classes per case, then over cases. A class
  absent from reference and prediction is not counted; one missed or invented
  scores 0.

  Args:
    counts: from `metrics.confusion_counts`, float [N, K, 3].
    classes: K names; index 0 is the background.

  Returns:
    A tree of plain numbers.
  """
  dice = metrics_lib.dice_from_counts(counts)
  iou = metrics_lib.iou_from_counts(counts)
  per_case = case_means(dice)
  low, high = metrics_lib.bootstrap_interval(per_case)
  return {
      'num_cases': int(len(counts)),
      'dice': _mean(per_case),
      'dice_interval_95': [low, high],
      'num_cases_counted': int(np.sum(~np.isnan(per_case))),
      'per_class': {
          name: {
              'dice': _mean(dice[:, c]),
              'iou': _mean(iou[:, c]),
              'num_cases_counted': int(np.sum(~np.isnan(dice[:, c]))),
          }
          for c, name in enumerate(classes)
          if c > 0
      },
  }


def case_means(scores: np.ndarray) -> np.ndarray:
  """Averages [N, K] over the foreground classes that count, float [N]."""
  foreground = scores[:, 1:]
  counted = ~np.isnan(foreground)
  total = np.sum(np.where(counted, foreground, 0), axis=1)
  number = counted.sum(axis=1)
  return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _mean(values):
  values = values[~np.isnan(values)]
  return float(values.mean()) if values.size else float('nan')


def write_cases(
    path: str,
    records: Sequence[dict[str, Any]],
    counts: np.ndarray,
    classes: Sequence[str],
) -> None:
  """Writes one CSV line per case: id, subject, Dice and IoU per class."""
  dice = metrics_lib.dice_from_counts(counts)
  iou = metrics_lib.iou_from_counts(counts)
  ids = input_pipeline.column(records, 'id')
  subjects = input_pipeline.column(records, 'subject')
  header = ['id', 'subject']
  for name in classes[1:]:
    header += [f'dice_{name}', f'iou_{name}']
  rows = []
  for n in range(len(records)):
    row = [ids[n], subjects[n]]
    for c in range(1, len(classes)):
      row += [_cell(dice[n, c]), _cell(iou[n, c])]
    rows.append(row)
  write_csv(path, header, rows)


def _cell(value):
  return '' if np.isnan(value) else f'{value:.6f}'


def write_csv(path: str, header: Sequence[str], rows: Sequence[Any]) -> None:
  """Writes a table; a reader never sees half of one."""
  with open(path + '.tmp', 'w', newline='', encoding='utf-8') as f:
    writer = csv.writer(f)
    writer.writerow(header)
    writer.writerows(rows)
  os.replace(path + '.tmp', path)


def summarize_indicators(
    weights: np.ndarray,
    num_updates: np.ndarray,
    records: Sequence[dict[str, Any]],
) -> dict[str, Any]:
  """Tells how well the indicators find the planted faults, if any are known.

  Args:
    weights: indicator table, float [N].
    num_updates: how often each indicator has moved, int [N].
    records: weak training records; `fault` names a planted fault, '' if none.

  Returns:
    `auroc`: chance that a faulty instance has a lower indicator than a good
    one; `auroc_by_fault`; mean indicators of both groups; counts. Indicators
    that never moved rank nothing and get no AUROC.
  """
  # An unlabelled image has nothing that could be trusted or not.
  records = [r for r in records if r['kind'] != types.AnnotationKind.NONE]
  if not records:
    return {'num_weak': 0, 'num_faulty': 0}
  ids = input_pipeline.column(records, 'instance_id')
  faults = input_pipeline.column(records, 'fault')
  weights = np.asarray(weights)[ids]
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


def write_indicators(
    path: str,
    weights: np.ndarray,
    num_updates: np.ndarray,
    records: Sequence[dict[str, Any]],
) -> None:
  """Writes one CSV line per weak instance, least trusted first."""
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
          _cell(columns['quality'][n]),
      ]
      for n in range(len(records))
  ]
  rows.sort(key=lambda row: (float(row[1]), row[0]))
  header = ['id', 'indicator', 'num_updates', 'kind', 'fault', 'quality']
  write_csv(path, header, rows)
