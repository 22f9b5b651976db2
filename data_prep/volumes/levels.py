"""Maps intensities to 16-bit levels that all volumes of a set share.

A level is a whole number from 0 to 65535, which stands for a value from `low`
to `high` of the set's `Levels`:

  level = round(65535 * (clip(value, low, high) - low) / (high - low))

In CT, the value is the intensity itself (Hounsfield units), since scanners
agree on it, and the limits are percentiles 0.5 and 99.5 of the foreground of
the training set, or a window that the user gives. In MR, whose scale is
arbitrary, the value is (intensity - mean) / std of the volume's own body, which
are its voxels other than 0. These are the choices of nnU-Net (Isensee et al.,
2021, https://doi.org/10.1038/s41592-020-01008-z), but MR values are clipped,
too. A network sees levels divided by 65535, in [0, 1], as it sees pictures. A
prediction reads its volume with the same `Levels`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.shared import volume_type

MODALITIES = ('ct', 'mr')
TOP = 65535  # The highest level.

_PERCENTILES = (0.5, 99.5)
# Range of values in MR, in standard deviations. Bright lesions and vessels lie
# further from the mean than anything dark.
_MR_RANGE = (-5.0, 10.0)
_MAX_SAMPLES = 10_000
_SLAB_VOXELS = 2**23
_AIR = -500  # Only CT has negative intensities of this size, those of air.


class Levels(NamedTuple):
  """How the intensities of a set are mapped to levels, see the module.

  Attributes:
    modality: one of `MODALITIES`.
    low: value that becomes level 0.
    high: value that becomes level 65535.
  """

  modality: str
  low: float
  high: float


class Statistics(NamedTuple):
  """Statistics of one volume.

  Attributes:
    mean: mean intensity of the body, the finite voxels other than 0.
    std: their standard deviation.
    low: lowest finite intensity of the volume.
    high: highest finite intensity of the volume.
    is_finite: whether no voxel is NaN or infinite.
  """

  mean: float
  std: float
  low: float
  high: float
  is_finite: bool = True


def slabs(shape: Sequence[int]) -> list[tuple[int, int]]:
  """Divides a volume into slabs along its last axis that fit into memory.

  Args:
    shape: number of voxels along each axis.

  Returns:
    First and last but one voxel of each slab.
  """
  thick = max(1, _SLAB_VOXELS // max(1, shape[0] * shape[1]))
  return [(start, min(shape[2], start + thick))
          for start in range(0, shape[2], thick)]


def statistics(voxels: volume_type.Voxels) -> Statistics:
  """Returns the statistics of a volume, which is read slab by slab.

  Without any finite voxel other than 0, mean and std are 0.
  """
  count, total, squares = 0, 0.0, 0.0
  low, high, is_finite = np.inf, -np.inf, True
  shift = None  # Keeps the sum of squares exact if all values are large.
  for start, stop in slabs(voxels.shape):
    values = np.asarray(voxels[:, :, start:stop]).astype(np.float64).ravel()
    finite = np.isfinite(values)
    is_finite, values = is_finite and bool(finite.all()), values[finite]
    if values.size:
      low, high = min(low, values.min()), max(high, values.max())
    values = values[values != 0]
    if not values.size:
      continue
    shift = values.mean() if shift is None else shift
    values -= shift
    count += values.size
    total += values.sum()
    squares += np.square(values).sum()
  if not np.isfinite(low):
    low = high = 0.0
  if not count:
    return Statistics(0.0, 0.0, float(low), float(high), is_finite)
  variance = max(squares / count - (total / count) ** 2, 0.0)
  return Statistics(
      float(shift + total / count), float(np.sqrt(variance)), float(low),
      float(high), is_finite)


def foreground_sample(
    voxels: volume_type.Voxels, labels: np.ndarray
) -> np.ndarray:
  """Returns up to 10 000 intensities of labelled objects, evenly spread.

  Args:
    voxels: intensities, [A, B, C].
    labels: classes on the same grid, uint8 [A, B, C]; 255 is unlabelled.

  Returns:
    Finite intensities, float64 [N].
  """
  number = int(((labels > 0) & (labels != types.UNLABELLED)).sum())
  step = max(1, -(-number // _MAX_SAMPLES))
  found, seen = [], 0
  for start, stop in slabs(labels.shape):
    part = labels[:, :, start:stop]
    inside = (part > 0) & (part != types.UNLABELLED)
    values = np.asarray(voxels[:, :, start:stop])[inside].astype(np.float64)
    found.append(values[-seen % step :: step])
    seen += values.size
  found = np.concatenate(found) if found else np.zeros(0)
  return found[np.isfinite(found)]


def guess_modality(all_statistics: Sequence[Statistics]) -> str:
  """Returns 'ct' if most volumes hold intensities of air in CT, else 'mr'."""
  cold = sum(s.low < _AIR for s in all_statistics)
  return 'ct' if 2 * cold > len(all_statistics) else 'mr'


def make_levels(
    modality: str,
    samples: Sequence[np.ndarray],
    window: tuple[float, float] | None = None,
) -> Levels:
  """Returns the levels of a set.

  Args:
    modality: one of `MODALITIES`.
    samples: intensities of the foreground of each training volume, see
      `foreground_sample`; not used in MR.
    window: limits instead of percentiles in CT, or of -5 and 10 in MR.

  Raises:
    ValueError: if CT has no foreground and no window is given.
  """
  if modality == 'mr':
    return Levels('mr', *(window or _MR_RANGE))
  if window is not None:
    return Levels('ct', *window)
  values = np.concatenate(list(samples)) if len(samples) else np.zeros(0)
  if not values.size:
    raise ValueError(
        'no training volume has a labelled object, whose intensities would '
        'give the window of CT; give --intensity_range=LOW,HIGH')
  low, high = map(float, np.percentile(values, _PERCENTILES))
  return Levels('ct', low, high if high > low else low + 1.0)


def to_levels(
    array: np.ndarray, levels: Levels, of_volume: Statistics
) -> np.ndarray:
  """Maps intensities to levels that are not yet rounded, so as to resample.

  Args:
    array: intensities of a part of a volume; NaN becomes level 0.
    levels: the levels of the set.
    of_volume: the statistics of the volume.

  Returns:
    float32 of the same shape, in [0, 65535].
  """
  with np.errstate(invalid='ignore'):  # A signalling NaN must not warn.
    values = array.astype(np.float32)
  if levels.modality == 'mr':
    values -= np.float32(of_volume.mean)
    values /= np.float32(max(of_volume.std, 1e-12))
  np.nan_to_num(
      values, copy=False, nan=levels.low, posinf=levels.high, neginf=levels.low)
  np.clip(values, levels.low, levels.high, out=values)
  values -= levels.low
  values *= TOP / (levels.high - levels.low)
  return np.clip(values, 0, TOP, out=values)


def round_levels(array: np.ndarray) -> np.ndarray:
  """Rounds levels to uint16."""
  return np.rint(np.clip(array, 0, TOP)).astype(np.uint16)
