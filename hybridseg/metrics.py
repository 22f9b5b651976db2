"""Segmentation metrics, from counts that can be added up over cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import masking
from hybridseg import types

_MAX_PIXELS = 2**31 - 1  # The most pixels that an int32 can count.
_MAX_PICKS = 2**22  # The most bootstrap draws in memory at once.


def confusion_counts(
    predictions: jax.Array, label_map: jax.Array, *, num_classes: int
) -> jax.Array:
  """Counts true positive, false positive and false negative pixels.

  A pixel that is c in the prediction but not in the reference is a false
  positive of class c; the reverse is a false negative. If one of the two maps
  holds a value that is not a class, the pixel still counts as an error of the
  class in the other map, as it would with a larger `num_classes`. If such
  pixels were left out, wrong labels would silently improve the metrics.

  Args:
    predictions: class per pixel, integer [B, ...].
    label_map: class of the reference per pixel, integer [B, ...]; pixels with
      the value `types.UNLABELLED` are not counted.
    num_classes: number of classes K.

  Returns:
    Exact numbers of true positives, false positives and false negatives per
    case and class, int32 [B, K, 3]. Sums over many cases need int64, which
    `np.sum` uses by itself.

  Raises:
    ValueError: if the two maps differ in shape, if one holds neither integers
      nor bools, if the reference is int8, or if a case has more pixels than an
      int32 can count (2^31 - 1).
  """
  masking.check_label_map(label_map)
  # Predictions may be int8: only the reference marks pixels by 255.
  if predictions.dtype != jnp.int8:
    masking.check_label_map(predictions, name='predictions')
  if predictions.shape != label_map.shape:
    raise ValueError(f'{predictions.shape=} differs from {label_map.shape=}.')
  num_pixels = math.prod(label_map.shape[1:])
  if num_pixels > _MAX_PIXELS:
    raise ValueError(
        f'A case of {num_pixels} pixels: an int32 counts up to {_MAX_PIXELS}. '
        'Count parts of it, and add them up in int64.')
  predictions, label_map = map(masking.to_int32, (predictions, label_map))
  known = (label_map != types.UNLABELLED)[..., None]
  one_hot = lambda x: jax.nn.one_hot(x, num_classes, dtype=bool) & known
  predicted, actual = one_hot(predictions), one_hot(label_map)
  space = tuple(range(1, label_map.ndim))
  count = lambda x: jnp.sum(x, axis=space, dtype=jnp.int32)
  return jnp.stack(
      [
          count(predicted & actual),
          count(predicted & ~actual),
          count(~predicted & actual),
      ],
      axis=-1,
  )


def _ratio(numerator, denominator):
  """Divides two arrays; 0 / 0 is nan, without a warning from NumPy."""
  safe = np.where(denominator > 0, denominator, 1)
  return np.where(denominator > 0, numerator / safe, np.nan)


def dice_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns Dice = 2 TP / (2 TP + FP + FN), float [..., K].

  A class that is absent from both reference and prediction is nan (not
  counted). A class that is in only one of them has a Dice of 0.

  Args:
    counts: from `confusion_counts`, or sums of them, [..., K, 3].
  """
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  return _ratio(2 * tp, 2 * tp + fp + fn)


def iou_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns IoU = TP / (TP + FP + FN), float [..., K].

  It is nan where Dice is nan.

  Args:
    counts: from `confusion_counts`, or sums of them, [..., K, 3].
  """
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  return _ratio(tp, tp + fp + fn)


def precision_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns precision = TP / (TP + FP), float [..., K].

  It is nan where Dice is nan. Where a class is missed altogether, TP + FP = 0
  and the precision is 0.

  Args:
    counts: from `confusion_counts`, or sums of them, [..., K, 3].
  """
  return _of_present(counts, lambda tp, fp, fn: _ratio(tp, tp + fp))


def recall_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns recall = TP / (TP + FN), also called sensitivity, float [..., K].

  It is nan where Dice is nan. Where a class is predicted that the reference
  does not have, TP + FN = 0 and the recall is 0.

  Args:
    counts: from `confusion_counts`, or sums of them, [..., K, 3].
  """
  return _of_present(counts, lambda tp, fp, fn: _ratio(tp, tp + fn))


def volume_error_from_counts(counts: np.ndarray) -> np.ndarray:
  """Returns |FP - FN| / (2 TP + FP + FN), float [..., K] in [0, 1].

  This is the difference of the two volumes divided by their sum, or 1 minus the
  volumetric similarity of Taha and Hanbury, 2015
  (https://doi.org/10.1186/s12880-015-0068-x). It is not relative to the volume
  of the reference, because a prediction three times too large would then be
  worse (2) than no prediction (1). It is nan where Dice is nan, and 1 where a
  class is in only one of prediction and reference.

  Args:
    counts: from `confusion_counts`, or sums of them, [..., K, 3].
  """
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  return _ratio(np.abs(fp - fn), 2 * tp + fp + fn)


def _of_present(counts, ratio_fn):
  """Computes a ratio of counts; 0 / 0 is 0 if either mask has pixels."""
  tp, fp, fn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
  ratio = ratio_fn(tp, fp, fn)
  return np.where(np.isnan(ratio) & (tp + fp + fn > 0), 0.0, ratio)


def calibration_counts(
    probabilities: np.ndarray, label_map: np.ndarray, *, num_bins: int = 15
) -> np.ndarray:
  """Counts all pixels and correct pixels, and sums confidences, in each bin.

  The confidence of a pixel is its largest probability, and decides its bin.

  Args:
    probabilities: float [..., K].
    label_map: class of the reference per pixel, integer [...]; pixels with the
      value `types.UNLABELLED` are not counted.
    num_bins: number of bins, of equal width over (0, 1].

  Returns:
    Number of pixels, sum of confidences and number of correct pixels per bin,
    float64 [num_bins, 3]. Counts of several cases can be added up.
  """
  known = label_map != types.UNLABELLED
  probabilities = np.asarray(probabilities)[known]
  confidence = probabilities.max(axis=-1).astype(np.float64)
  right = probabilities.argmax(axis=-1) == label_map[known]
  bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0,
                 num_bins - 1)
  total = lambda x: np.bincount(bins, weights=x, minlength=num_bins)
  return np.stack([total(None), total(confidence), total(right)], axis=-1)


def expected_calibration_error(counts: np.ndarray) -> float:
  """Returns the expected calibration error (ECE) of pixels.

  ECE = sum_b n_b / n |right_b / n_b - confidence_b / n_b|, where bin b holds
  n_b of all n pixels, right_b of these n_b pixels are correct, and confidence_b
  is the sum of the n_b confidences.

  Guo et al., 2017 (https://arxiv.org/abs/1706.04599, eq. 3), applied to pixels.
  Most pixels are easy background, so compare the ECE of models on one set, but
  not between sets.

  Args:
    counts: from `calibration_counts`, or sums of them, float [num_bins, 3].

  Returns:
    ECE in [0, 1]; nan without pixels.
  """
  number, confidence, right = np.asarray(counts, np.float64).T
  return float(_ratio(np.abs(right - confidence).sum(), number.sum()))


def mean_of_counted(values: np.ndarray, *, axis: int) -> np.ndarray:
  """Returns the mean of the values that are not nan; nan where all are nan."""
  counted = ~np.isnan(values)
  total = np.sum(np.where(counted, values, 0), axis=axis, dtype=np.float64)
  return _ratio(total, counted.sum(axis=axis))


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
  """Returns the probability that a positive has a higher score than a negative.

  A tie counts as 1/2. This is the Mann-Whitney form of the area under the ROC
  curve: Hanley and McNeil, 1982
  (https://doi.org/10.1148/radiology.143.1.7063747).

  Args:
    scores: float [N].
    positive: which of the scores belong to positives, bool [N].

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
    groups: np.ndarray | None = None,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
  """Returns the percentile bootstrap interval of the mean over cases.

  Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
  Cases of one group, such as the slices or frames of one patient, are drawn
  together: Davison and Hinkley, "Bootstrap Methods and their Application",
  1997, section 3.8. With few groups, the interval is too narrow.

  Args:
    values: one number per case, float [N]; cases whose value is nan are left
      out.
    groups: group of each case, [N]; with None, every case is its own group.
    level: nominal coverage of the interval.
    num_resamples: number of resamples.
    seed: seed of the resampling.

  Returns:
    Lower and upper end of the interval; both nan if all values are nan.
  """
  values = np.asarray(values, np.float64)
  counted = ~np.isnan(values)
  values = values[counted]
  if not values.size:
    return float('nan'), float('nan')
  members = np.arange(values.size)
  if groups is not None:
    members = np.unique(np.asarray(groups)[counted], return_inverse=True)[1]
  sums, numbers = np.bincount(members, weights=values), np.bincount(members)
  rng = np.random.default_rng(seed)
  means = []
  at_once = max(1, _MAX_PICKS // sums.size)
  for start in range(0, num_resamples, at_once):
    picks = rng.integers(
        sums.size, size=(min(at_once, num_resamples - start), sums.size))
    means.append(sums[picks].sum(axis=1) / numbers[picks].sum(axis=1))
  tail = (1 - level) / 2
  low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
  return float(low), float(high)
