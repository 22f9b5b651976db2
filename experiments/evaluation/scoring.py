"""Scores predictions case by case, and summarizes the scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import math
import os
from typing import Any, NamedTuple

from hybridseg import metrics as metrics_lib
from hybridseg import surface_metrics
from hybridseg import types
import jax
import numpy as np

from experiments import csv_files
from experiments import process_group
from experiments.building import input_pipeline
from experiments.evaluation import metric_table
from experiments.saving import run_folder


def evaluate_records(
    eval_fn: Callable[..., Any],
    params: Any,
    records: Sequence[dict[str, Any]],
    *,
    batch_size: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Predicts all records, and compares the predictions with their `truth`.

  Args:
    eval_fn: result of `train_step.make_eval_step`, on this process's devices.
    params: parameters of the two networks.
    records: records of a split.
    batch_size: number of images per call, over all devices of this process.

  Returns:
    Predictions, uint8 [N, H, W], and confusion counts, int64 [N, K, 3], in the
    order of the records. Sums of int64 counts over cases are exact.
  """
  outputs = []
  for batch in input_pipeline.eval_batches(records, batch_size):
    outputs.append(jax.device_get(eval_fn(params, batch)))
  predictions, counts = (
      np.concatenate(part)[: len(records)]
      for part in zip(*outputs, strict=True)
  )
  return predictions, counts.astype(np.int64)


def overlap_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the scores, float [N, K], in each metric that needs only counts.

  Args:
    counts: pixel counts from `metrics.confusion_counts`, int [N, K, 3].
  """
  return {
      name: metric.from_counts(counts)
      for name, metric in metric_table.TABLE.items() if metric.from_counts}


def mean_dice(counts: np.ndarray) -> float:
  """Returns the mean Dice of `summarize`, computed from counts [N, K, 3]."""
  return _mean(case_means(metrics_lib.dice_from_counts(counts)))


def summarize(
    scores: dict[str, np.ndarray],
    classes: Sequence[str],
    subjects: Sequence[str],
) -> dict[str, Any]:
  """Averages scores over classes and cases, with intervals.

  Each metric is averaged over the foreground classes of a case, and then over
  the cases. It is also averaged over the cases for each class alone. A class
  that is in neither the reference nor the prediction of a case is not counted
  there. A class in only one of them has the worst possible score (0; 1 for the
  volume error; for distances, the diagonal of the labelled region), so that
  predicting nothing never improves a mean.

  Args:
    scores: maps each metric to its scores, float [N, K], nan if not counted.
    classes: names of the K classes; index 0 is the background.
    subjects: subject of each case, N names. The bootstrap resamples whole
      subjects.

  Returns:
    A tree of plain numbers: METRIC and METRIC_interval_95 (bootstrap) for each
    metric, numbers of cases, and in `per_class` the same for each class. Means
    without a case and intervals over fewer than two subjects are None.
  """
  number = len(subjects)
  dice = next(iter(scores.values()))
  results = {
      'num_cases': number,
      'num_subjects': len(set(subjects)),
      'num_cases_counted': _count(case_means(dice)),
  } | _means({n: case_means(s) for n, s in scores.items()}, subjects)
  results['per_class'] = {
      name: {'num_cases_counted': _count(dice[:, c])}
      | _means({n: s[:, c] for n, s in scores.items()}, subjects)
      for c, name in enumerate(classes)
      if c > 0
  }
  return results


def in_words(results: dict[str, Any], metric: str) -> str:
  """Returns the mean and interval of a metric from `summarize`, as text."""
  mean, interval = both_in_words(results, metric)
  return f'{mean} ({interval})' if interval else mean


def both_in_words(results: dict[str, Any], metric: str) -> tuple[str, str]:
  """Returns the mean of a metric, and its interval or why there is none."""
  mean, interval = results[metric], results.get(f'{metric}_interval_95')
  if mean is None:
    return 'not counted', ''
  if interval is None:
    return f'{mean:.3f}', 'no interval of fewer than two subjects'
  return f'{mean:.3f}', f'{interval[0]:.3f} to {interval[1]:.3f}'


def _means(values, subjects):
  """Returns the mean and interval of each metric from its scores, float [N]."""
  results = {}
  subjects = np.asarray(subjects)
  for name, scores in values.items():
    counted = ~np.isnan(scores)
    results[name] = float(scores[counted].mean()) if counted.any() else None
    results[f'{name}_interval_95'] = None
    if len(set(subjects[counted])) > 1:
      results[f'{name}_interval_95'] = list(metrics_lib.bootstrap_interval(
          scores, groups=subjects))
  return results


def _count(values):
  return int(np.sum(~np.isnan(values)))


def case_means(scores: np.ndarray) -> np.ndarray:
  """Returns each case's mean over the foreground classes that count, [N]."""
  return metrics_lib.mean_of_counted(scores[:, 1:], axis=1)


def _mean(values):
  values = values[~np.isnan(values)]
  return float(values.mean()) if values.size else float('nan')


def write_cases(
    path: str,
    ids: Sequence[str],
    subjects: Sequence[str],
    scores: dict[str, np.ndarray],
    classes: Sequence[str],
) -> None:
  """Writes a CSV table of the scores of each case.

  The columns are id, subject, and METRIC_CLASS for each metric and class.

  Args:
    path: file to write, with one line per case.
    ids: ids of the N cases.
    subjects: subjects of the N cases.
    scores: maps each metric to its scores, float [N, K]. A score that is not
      counted is nan; its cell is empty.
    classes: names of the K classes; index 0 is the background.
  """
  columns = {
      f'{metric}_{name}': values[:, c]
      for c, name in enumerate(classes) if c > 0
      for metric, values in scores.items()}
  csv_files.write_csv(path, ['id', 'subject', *columns], [
      [ids[n], subjects[n], *(cell(v[n]) for v in columns.values())]
      for n in range(len(ids))])


class Evaluated(NamedTuple):
  """The results of an evaluation of N cases.

  Attributes:
    results: tree of plain numbers, see `summarize`.
    classes: names of the K classes; index 0 is the background.
    ids: ids of the cases.
    subjects: subjects of the cases.
    scores: maps each metric to its scores, float [N, K].
  """

  results: dict[str, Any]
  classes: tuple[str, ...]
  ids: list[str]
  subjects: list[str]
  scores: dict[str, np.ndarray]


class EvaluatedCase(NamedTuple):
  """One case in the report of an evaluation, with its pictures.

  Attributes:
    id: id of the case.
    subject: subject of the case, or ''.
    scores: maps METRIC_CLASS, such as 'dice_polyp', to a score, which may be
      nan.
    image: image, uint8 [H, W, C], C = 1 or 3, of any size.
    truth: reference, uint8 [H, W], `types.UNLABELLED` where unknown.
    prediction: predicted classes, uint8 [H, W].
    maps: further maps by name, such as 'uncertainty', float [H, W] in [0, 1].
  """

  id: str
  subject: str
  scores: Mapping[str, float]
  image: np.ndarray
  truth: np.ndarray
  prediction: np.ndarray
  maps: Mapping[str, np.ndarray] = {}


def write_evaluation(
    folder: str, found: Evaluated, *, suffix: str = ''
) -> None:
  """Writes evaluation{suffix}.csv with scores, and .json with the results."""
  write_cases(os.path.join(folder, f'evaluation{suffix}.csv'), found.ids,
              found.subjects, found.scores, found.classes)
  run_folder.write_json(
      os.path.join(folder, f'evaluation{suffix}.json'), found.results)


class ScoredCase(NamedTuple):
  """An image or a volume with its scores.

  Attributes:
    id: id of the case.
    subject: subject of the case.
    scores: maps each metric to its scores, float [K], from `score_case`.
  """

  id: str
  subject: str
  scores: dict[str, np.ndarray]


def gather(
    cases: Iterable[ScoredCase], group: process_group.Group, block: int = 1
) -> list[ScoredCase] | None:
  """Returns the cases of all processes in order; None but in process 0.

  Args:
    cases: the share of this process, see `process_group.Group.share`.
    group: the processes.
    block: number of consecutive cases in a block.
  """
  own = [*cases]
  columns = {metric: np.stack([case.scores[metric] for case in own])
             for metric in (own[0].scores if own else ())}
  shares = group.gather(
      ([case.id for case in own], [case.subject for case in own], columns))
  return None if shares is None else group.merge([[
      ScoredCase(*names, {m: values[n] for m, values in columns.items()})
      for n, names in enumerate(zip(ids, subjects, strict=True))]
      for ids, subjects, columns in shares], block)


def evaluate_cases(
    cases: Iterable[ScoredCase],
    classes: Sequence[str],
    *,
    tolerance: float,
    in_mm: bool,
) -> Evaluated:
  """Collects the scores of cases, and summarizes them.

  Args:
    cases: at least one case; may be a generator that scores one at a time.
    classes: names of the K classes; index 0 is the background.
    tolerance: tolerance of NSD, in the unit of distances.
    in_mm: whether distances are in mm; otherwise they are in pixels.
  """
  ids, subjects, rows = zip(*cases, strict=True)
  scores = {m: np.stack([row[m] for row in rows]) for m in rows[0]}
  results = {
      'distance_unit': 'mm' if in_mm else 'px',
      'nsd_tolerance': tolerance,
  } | summarize(scores, classes, subjects)
  return Evaluated(
      results, tuple(classes), list(ids), list(subjects), scores)


def named_scores(
    scores: dict[str, np.ndarray], classes: Sequence[str]
) -> dict[str, float]:
  """Returns a case's scores by METRIC_CLASS, from its scores [K] by metric."""
  return {f'{metric}_{name}': float(values[c])
          for c, name in enumerate(classes) if c > 0
          for metric, values in scores.items()}


def score_case(
    prediction: np.ndarray,
    label_map: np.ndarray,
    *,
    num_classes: int,
    spacing: Sequence[float] | None,
    tolerance: float,
) -> dict[str, np.ndarray]:
  """Computes all metrics of one case for all classes, with NumPy.

  Args:
    prediction: class of each pixel or voxel, integer [...].
    label_map: reference, integer [...]; pixels of value `types.UNLABELLED` are
      left out of both masks.
    num_classes: number of classes K.
    spacing: millimetres per pixel along each axis; None measures in pixels.
    tolerance: tolerance of NSD, in the unit of the spacing.

  Returns:
    A dict that maps each metric to its scores, float64 [K]. Scores are nan for
    the background, and for a class in neither mask. If a class is in only one
    mask, its distances are the diagonal of the labelled region.
  """
  known = label_map != types.UNLABELLED
  scores = overlap_scores(
      count_case(prediction, label_map, num_classes=num_classes))
  for name in surface_metrics.SurfaceScores._fields:
    scores[name] = np.full(num_classes, np.nan)
  missing = _diagonal(known, spacing)
  for c in range(1, num_classes):
    surfaces = surface_metrics.surface_scores(
        known & (prediction == c), known & (label_map == c), spacing=spacing,
        tolerance=tolerance, missing=missing)
    for name, value in surfaces._asdict().items():
      scores[name][c] = value
  for values in scores.values():
    values[0] = np.nan
  return scores


def count_case(
    prediction: np.ndarray, label_map: np.ndarray, *, num_classes: int
) -> np.ndarray:
  """Returns `metrics.confusion_counts` of one case, int64 [K, 3], with NumPy.

  Args:
    prediction: class of each pixel or voxel, integer [...].
    label_map: reference, integer [...].
    num_classes: number of classes K.
  """
  known = label_map != types.UNLABELLED
  pairs = label_map[known].astype(np.int64) * num_classes + prediction[known]
  table = np.bincount(pairs, minlength=num_classes**2).reshape(
      num_classes, num_classes)
  right = np.diagonal(table)
  return np.stack(
      [right, table.sum(axis=0) - right, table.sum(axis=1) - right], axis=-1)


def _diagonal(known, spacing):
  """Returns the length of the diagonal of the box around labelled pixels."""
  lengths = []
  for axis in range(known.ndim):
    other = tuple(i for i in range(known.ndim) if i != axis)
    places = np.flatnonzero(known.any(axis=other))
    lengths.append(places[-1] - places[0] if places.size else 0)
  return math.hypot(*np.multiply(lengths, spacing or 1))


def cell(value: float) -> str:
  """Returns a number as a cell of a CSV table; nan is empty."""
  return '' if np.isnan(value) else f'{value:.6f}'
