"""Resamples volumes to another number of voxels, slab by slab.

The new grid fills the same box as the old one: along an axis, voxel i of m new
voxels has its centre at (i + 0.5) * n / m - 0.5, counted in the n old voxels.
Beyond the outermost centres, the outermost voxels continue. Images are
resampled by cubic B-splines, labels by linear shares of each class, and along
an axis with coarse voxels (see `coarse_axis`) both take the nearest voxel:
these are the choices of nnU-Net (https://github.com/MIC-DKFZ/nnUNet).

A slab is a range of new voxels along the last axis. Slabs of a volume may be
resampled one by one, so that no array of the whole volume is ever needed.
"""

from collections.abc import Sequence

from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep.shared import scratch
from data_prep.shared import volume_type
from data_prep.volumes import levels

_COARSE = 3.0  # Ratio of spacings from which on an axis is resampled apart.
# Number of voxels beyond a slab that its spline takes into account. The
# influence of a voxel falls by the factor 2 - sqrt(3) from one to the next.
_MARGIN = 16
_TIE = 1e-6  # Two shares of classes that differ by no more than this are equal.

Shape = tuple[int, int, int]


def new_shape(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    new_spacing_mm: Sequence[float],
) -> Shape:
  """Returns the number of voxels with a new spacing, at least 1 per axis."""
  return tuple(max(1, round(n * a / b)) for n, a, b in zip(
      shape, spacing_mm, new_spacing_mm, strict=True))


def new_affine(
    affine: np.ndarray, shape: Sequence[int], wanted: Sequence[int]
) -> np.ndarray:
  """Returns the affine of a resampled volume, float64 [4, 4].

  Args:
    affine: affine of the old voxels, float [4, 4].
    shape: number of old voxels along each axis.
    wanted: number of new voxels along each axis.
  """
  scale = np.asarray(shape) / np.asarray(wanted)
  to_old = np.diag([*scale, 1.0])
  to_old[:3, 3] = scale / 2 - 0.5
  return np.asarray(affine, np.float64) @ to_old


def coarse_axis(
    spacing_mm: Sequence[float], new_spacing_mm: Sequence[float]
) -> int | None:
  """Returns the axis along which no voxels are mixed, or None.

  It is the axis with the largest spacing, if the old spacings (or else the new
  ones) differ by more than a factor of 3. If two axes share the largest
  spacing, there is none.
  """
  for spacing in (np.asarray(spacing_mm), np.asarray(new_spacing_mm)):
    if spacing.max() > _COARSE * spacing.min():
      axes = np.flatnonzero(spacing == spacing.max())
      return int(axes[0]) if axes.size == 1 else None
  return None


def resample_image(
    voxels: volume_type.Voxels,
    shape: Shape,
    *,
    order: int = 3,
    coarse: int | None = None,
    slab: tuple[int, int] | None = None,
    limits: tuple[float, float] | None = None,
) -> np.ndarray:
  """Resamples intensities or probabilities.

  Args:
    voxels: [A, B, C].
    shape: number of new voxels along each axis.
    order: 3 for cubic B-splines, 1 for linear interpolation, 0 for the nearest
      voxel.
    coarse: axis along which the nearest voxel is taken, see `coarse_axis`.
    slab: first and last but one new voxel along the last axis; None means all.
    limits: the result is clipped to this range, since splines overshoot; None
      does not clip.

  Returns:
    float32 [*shape], or the slab of it.
  """
  slab = slab or (0, shape[2])
  ranges = [(0, shape[0]), (0, shape[1]), slab]
  orders = [0 if axis == coarse else order for axis in range(3)]
  block, starts = _source(voxels.shape, shape, ranges, orders)
  array = np.asarray(voxels[block], np.float32)
  for axis in sorted(range(3), key=lambda i: shape[i] / voxels.shape[i]):
    array = _resample_axis(
        array, axis, voxels.shape[axis], shape[axis], ranges[axis],
        starts[axis], orders[axis])
  if limits is not None:
    np.clip(array, *limits, out=array)
  return array


def resample_labels(
    labels: volume_type.Voxels,
    shape: Shape,
    *,
    coarse: int | None = None,
    slab: tuple[int, int] | None = None,
) -> np.ndarray:
  """Resamples dense labels: each voxel gets the class with the largest share.

  The share of a class is the linear interpolation of 1 where the class is and 0
  elsewhere. Unlabelled, 255, counts as a class. No new class can therefore
  appear. If several classes have the largest share, that of the nearest old
  voxel wins if it is among them, and else the lowest.

  Args:
    labels: classes, uint8 [A, B, C].
    shape: number of new voxels along each axis.
    coarse: axis along which the nearest voxel is taken, see `coarse_axis`.
    slab: first and last but one new voxel along the last axis; None means all.

  Returns:
    uint8 [*shape], or the slab of it.
  """
  slab = slab or (0, shape[2])
  ranges = [(0, shape[0]), (0, shape[1]), slab]
  orders = [0 if axis == coarse else 1 for axis in range(3)]
  block, starts = _source(labels.shape, shape, ranges, orders)
  array = np.asarray(labels[block])
  nearest = array[np.ix_(*(
      nearest_index(labels.shape[i], shape[i])[slice(*ranges[i])] - starts[i]
      for i in range(3)))]
  classes = np.unique(array)
  if classes.size == 1:
    return nearest
  best = np.full(nearest.shape, -1, np.float32)
  winner, own = nearest.copy(), best.copy()
  for value in classes:
    share = (array == value).astype(np.float32)
    for axis in range(3):
      share = _resample_axis(
          share, axis, labels.shape[axis], shape[axis], ranges[axis],
          starts[axis], orders[axis])
    np.copyto(own, share, where=nearest == value)
    larger = share > best + _TIE
    np.copyto(best, share, where=larger)
    winner[larger] = value
  return np.where(own >= best - _TIE, nearest, winner)


def resample_sparse(labels: volume_type.Voxels, shape: Shape) -> np.ndarray:
  """Moves scribbles, points or single drawn slices; none of them is lost.

  Each new voxel takes the class of the old voxel in which its centre lies. Then
  each labelled old voxel gives its class to the new voxel in which its own
  centre lies, so that a thin line survives on a coarser grid. Where several
  classes meet in one new voxel, the one with fewest voxels in the volume wins,
  so that a point survives beside a long line.

  Args:
    labels: classes, uint8 [A, B, C]; 255 is unlabelled.
    shape: number of new voxels along each axis.

  Returns:
    uint8 [*shape].
  """
  array = np.asarray(labels)
  moved = array[np.ix_(*(
      nearest_index(n, m) for n, m in zip(array.shape, shape, strict=True)))]
  counts = np.bincount(array.ravel(), minlength=256)
  counts[types.UNLABELLED] = 0
  values = np.flatnonzero(counts)
  # The new voxels that hold the centre of each old voxel.
  places = [nearest_index(m, n) for n, m in zip(
      array.shape, shape, strict=True)]
  for value in sorted(values, key=lambda v: (-counts[v], v)):
    index = np.nonzero(array == value)
    moved[tuple(p[i] for p, i in zip(places, index, strict=True))] = value
  return moved


def move_points(
    points: np.ndarray, shape: Sequence[int], wanted: Sequence[int]
) -> np.ndarray:
  """Moves points to the new grid, without rounding.

  Args:
    points: voxel indices, where whole numbers are centres, float [N, 3].
    shape: number of old voxels along each axis.
    wanted: number of new voxels along each axis.
  """
  return (np.asarray(points) + 0.5) * np.divide(wanted, shape) - 0.5


def restore_labels(
    probs: np.ndarray, labels: np.ndarray, *, coarse: int | None = None
) -> None:
  """Writes the classes of a prediction at the resolution of its file.

  The probabilities are resampled linearly, and each voxel gets the most
  probable class, the lowest of equal ones. This is done slab by slab, so that
  both arrays may lie on the disk.

  Args:
    probs: probabilities, float [A, B, C, K].
    labels: array for the classes, uint8 of the shape of the file in the same
      frame.
    coarse: axis along which the nearest voxel is taken, see `coarse_axis`.
  """
  shape = labels.shape
  for start, stop in levels.slabs(shape):
    best, winner = None, labels[:, :, start:stop]
    winner[...] = 0
    for value in range(probs.shape[-1]):
      found = resample_image(
          probs[..., value], shape, order=1, coarse=coarse, slab=(start, stop))
      if best is None:
        best = found.copy('K')  # It may be a part of `probs`.
        continue
      winner[found > best] = value
      np.maximum(best, found, out=best)
    for array in (probs, labels):
      scratch.release(array)


def restore_map(
    values: np.ndarray, out: np.ndarray, *, coarse: int | None = None
) -> None:
  """Writes numbers at the resolution of a file, linearly, slab by slab.

  Args:
    values: float [A, B, C].
    out: array for the result, float of the shape of the file in the same frame.
    coarse: as for `restore_labels`.
  """
  for start, stop in levels.slabs(out.shape):
    out[:, :, start:stop] = resample_image(
        values, out.shape, order=1, coarse=coarse, slab=(start, stop))
    for array in (values, out):
      scratch.release(array)


def nearest_index(length: int, wanted: int) -> np.ndarray:
  """Returns the old voxel in which each new voxel's centre lies, int [wanted].

  If the centre lies on the border between two old voxels, the later one counts.
  """
  # Whole numbers decide ties exactly: floor((i + 0.5) * length / wanted).
  index = (2 * np.arange(wanted) + 1) * length // (2 * wanted)
  return np.minimum(index, length - 1)


def _source(shape, wanted, ranges, orders):
  """Returns the block of old voxels that new ones need, and where it starts."""
  block = []
  for n, m, (start, stop), order in zip(
      shape, wanted, ranges, orders, strict=True):
    margin = (1, 2, 0, _MARGIN)[order] if n != m else 0
    low = int(np.floor((start + 0.5) * n / m - 0.5)) - margin
    high = int(np.ceil((stop - 0.5) * n / m - 0.5)) + margin + 1
    block.append(slice(max(0, low), min(n, high)))
  return tuple(block), [part.start for part in block]


def _resample_axis(array, axis, length, wanted, part, start, order):
  """Resamples one axis of a block.

  Args:
    array: the block, float32.
    axis: the axis to resample.
    length: number of old voxels of the volume along the axis.
    wanted: number of new voxels of the volume along the axis.
    part: first and last but one of the new voxels to return.
    start: number of the old voxel with which the block starts.
    order: see `resample_image`.
  """
  if length == wanted:
    return array[(slice(None),) * axis + (
        slice(part[0] - start, part[1] - start),)]
  if order == 0:
    index = nearest_index(length, wanted)[slice(*part)] - start
    return np.take(array, index, axis)
  at = (np.arange(*part) + 0.5) * (length / wanted) - 0.5
  first = np.floor(at).astype(int)
  x = (at - first).astype(np.float32)
  if order == 1:
    weights = [1 - x, x]
  else:
    pad = [(0, 0)] * 3
    pad[axis] = (_MARGIN, _MARGIN)
    array = ndimage.spline_filter1d(
        np.pad(array, pad, 'edge'), 3, axis, np.float32, 'mirror')
    start -= _MARGIN
    first -= 1
    weights = [(1 - x)**3 / 6, (4 - 6 * x**2 + 3 * x**3) / 6,
               (1 + 3 * x + 3 * x**2 - 3 * x**3) / 6, x**3 / 6]
  result = 0
  for k, weight in enumerate(weights):
    index = np.clip(first + k - start, 0, array.shape[axis] - 1)
    taken = np.take(array, index, axis)
    taken *= weight.reshape([-1 if i == axis else 1 for i in range(3)])
    result += taken
  return result
