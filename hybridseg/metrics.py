"""Segmentation metrics from counts: sums until the host divides."""

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import types


def confusion_counts(
    predictions: jax.Array, label_map: jax.Array, *, num_classes: int
) -> jax.Array:
  """Counts pixels per case and class.

  Args:
    predictions: class per pixel, integer [B, ...].
    label_map: reference class per pixel, integer [B, ...]; pixels of value
      `types.UNLABELLED` are not counted.
    num_classes: number of classes K.

  Returns:
    True positives, false positives and false negatives, float32 [B, K, 3].

  Raises:
    ValueError: if the two maps differ in shape.
  """
  if predictions.shape != label_map.shape:
    raise ValueError(f'{predictions.shape=} differs from {label_map.shape=}.')
  label_map = label_map.astype(jnp.int32)
  known = (label_map != types.UNLABELLED)[..., None]
  one_hot = lambda x: jax.nn.one_hot(x, num_classes, dtype=bool) & known
  predicted, actual = one_hot(predictions), one_hot(label_map)
  space = tuple(range(1, label_map.ndim))
  count = lambda x: jnp.sum(x, axis=space, dtype=jnp.float32)
  return jnp.stack(
      [
          count(predicted & actual),
          count(predicted & ~actual),
          count(~predicted & actual),
      ],
      axis=-1,
  )


def _ratio(numerator, denominator):
  """Divides; 0 / 0 is nan, without NumPy's warning."""
  safe = np.where(denominator > 0, denominator, 1)
  return np.where(denominator > 0, numerator / safe, np.nan)


def dice_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns Dice = 2 TP / (2 TP + FP + FN), float [..., K].

  A class absent from reference and prediction is nan (not counted); one that is
  missed, or found where there is none, is 0.

  Args:
    counts: from `confusion_counts`, or sums of them, float [..., K, 3].
  """
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  return _ratio(2 * tp, 2 * tp + fp + fn)


def iou_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns IoU = TP / (TP + FP + FN), float [..., K]; nan as for Dice.

  Args:
    counts: from `confusion_counts`, or sums of them, float [..., K, 3].
  """
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  return _ratio(tp, tp + fp + fn)


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
  """Returns the chance that a positive scores above a negative; ties count 1/2.

  The Mann-Whitney form of the area under the ROC curve: Hanley and McNeil, 1982
  (https://doi.org/10.1148/radiology.143.1.7063747).

  Args:
    scores: float [N].
    positive: bool [N].

  Returns:
    AUROC in [0, 1]; nan if there is no positive or no negative.
  """
  scores, positive = np.asarray(scores), np.asarray(positive, bool)
  negatives = np.sort(scores[~positive])
  positives = scores[positive]
  if not negatives.size or not positives.size:
    return float('nan')
  below = np.searchsorted(negatives, positives, side='left')
  not_above = np.searchsorted(negatives, positives, side='right')
  return float(np.mean((below + not_above) / 2) / negatives.size)


def bootstrap_interval(
    values: np.ndarray,
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
  """Returns the percentile bootstrap interval of the mean over cases.

  Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

  Args:
    values: one number per case, float [N]; nan cases are left out.
    level: coverage.
    num_resamples: number of resamples.
    seed: of the resampling.

  Returns:
    Lower and upper end; nan if no case counts.
  """
  values = np.asarray(values, np.float64)
  values = values[~np.isnan(values)]
  if not values.size:
    return float('nan'), float('nan')
  rng = np.random.default_rng(seed)
  picks = rng.integers(values.size, size=(num_resamples, values.size))
  tail = (1 - level) / 2
  low, high = np.quantile(values[picks].mean(axis=1), [tail, 1 - tail])
  return float(low), float(high)
