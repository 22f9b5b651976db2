"""Draws weak annotations of volumes that do not label every voxel of an object.

An annotator of a volume works in its slices. Scribbles and points are therefore
those of the simulator of pictures (`annotators`), drawn in some slices; extreme
points and coarse masks are those of whole objects. An object is a connected
part of one class, where corners connect. All functions are pure; randomness
comes from the generator that they take.
"""

from collections.abc import Iterator, Sequence

from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep.drawing import annotators
from data_prep.drawing import covering
from data_prep.drawing import simulate
from data_prep.shared import geometry

# Radii in voxels, which are tried in turn. The first one at which the disc of a
# point holds no voxel of another class is used.
_RADII = (covering.POINT_RADIUS, 1.0, 0.0)
_EVERY = 8  # One slice of this many is drawn.


def objects(
    label: np.ndarray,
) -> Iterator[tuple[int, tuple[slice, slice, slice], np.ndarray]]:
  """Yields class, tight box, and mask within the box of each object.

  Args:
    label: classes, uint8 [X, Y, Z].
  """
  for value in np.unique(label):
    if value in (0, types.UNLABELLED):
      continue
    parts, _ = ndimage.label(label == value, np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(parts), 1):
      yield int(value), box, parts[box] == number


def choose_slices(planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Chooses every eighth slice from a random one on.

  If no object is seen in any of them, the slice with the largest area of
  objects is chosen, too.

  Args:
    planes: classes, uint8 [N, H, W], whose first axis counts the slices.
    rng: random generator.

  Returns:
    Whether each slice is chosen, bool [N].
  """
  chosen = np.zeros(len(planes), bool)
  chosen[rng.integers(min(_EVERY, len(planes))) :: _EVERY] = True
  area = ((planes > 0) & (planes != types.UNLABELLED)).sum((1, 2))
  if area.any() and not area[chosen].any():
    chosen[np.argmax(area)] = True
  return chosen


def draw_scribbles(
    label: np.ndarray, rng: np.random.Generator, *, axis: int
) -> np.ndarray:
  """Draws strokes in the slices of `choose_slices`; all else is unlabelled.

  In each of these slices, every object and the background get the stroke that
  `annotators.strokes` draws in a picture. No stroke leaves its class.

  Args:
    label: classes, uint8 [X, Y, Z].
    rng: random generator.
    axis: the axis along which the annotator goes through the slices.

  Returns:
    Classes, uint8 [X, Y, Z], 255 = unlabelled.
  """
  planes = np.moveaxis(label, axis, 0)
  drawn = np.full_like(planes, types.UNLABELLED)
  care = rng.uniform()
  for k in np.flatnonzero(choose_slices(planes, rng)):
    annotation = simulate.simulate_weak(
        planes[k], rng, kind='scribble', quality_level=care)
    drawn[k] = simulate.draw(annotation, planes[k].shape)
  return np.moveaxis(drawn, 0, axis)


def draw_points(
    label: np.ndarray, rng: np.random.Generator, *, axis: int
) -> np.ndarray:
  """Marks points in one slice of each object; all else is unlabelled.

  It is the slice in which the object has its largest area. In these slices, the
  objects and the background get the points that `annotators.points` marks in a
  picture; without any object, a random slice gets points of the background. A
  point is a disc in its slice, with a radius of 2 voxels, or of 1 or 0 so that
  it does not leave its class.

  Args:
    label: as for `draw_scribbles`.
    rng: random generator.
    axis: as for `draw_scribbles`.

  Returns:
    As `draw_scribbles`.
  """
  planes = np.moveaxis(label, axis, 0)
  drawn = np.full_like(planes, types.UNLABELLED)
  others = tuple(i for i in range(3) if i != axis)
  chosen = {box[axis].start + int(np.argmax(mask.sum(others)))
            for _, box, mask in objects(label)}
  care = rng.uniform()
  for k in sorted(chosen) or [int(rng.integers(len(planes)))]:
    found = annotators.points(planes[k], rng, care)
    for (x, y), value in zip(found.shapes, found.labels, strict=True):
      _mark(drawn[k], planes[k], (int(y), int(x)), value)
  return np.moveaxis(drawn, 0, axis)


def draw_extreme_points(
    label: np.ndarray, rng: np.random.Generator, *, axis: int
) -> np.ndarray:
  """Marks six voxels of each object, one on each face of its tight box.

  If several voxels touch a face, a random one is taken. Each is drawn as
  `draw_points` draws a point. The rest of the boxes is unlabelled, and
  everything outside of them is background.

  Args:
    label: as for `draw_scribbles`.
    rng: random generator.
    axis: as for `draw_scribbles`.

  Returns:
    As `draw_scribbles`.
  """
  drawn = np.where(label == types.UNLABELLED, label, 0)
  places = []
  for value, box, mask in objects(label):
    drawn[box] = types.UNLABELLED
    points = np.argwhere(mask)
    for i in range(3):
      for side in (0, mask.shape[i] - 1):
        place = rng.choice(points[points[:, i] == side])
        places.append((place + [part.start for part in box], value))
  planes, seen = np.moveaxis(drawn, axis, 0), np.moveaxis(label, axis, 0)
  for place, value in places:
    k, *centre = place[axis], *np.delete(place, axis)
    _mark(planes[k], seen[k], centre, value)  # Changes `drawn`.
  return drawn


def draw_coarse_mask(
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    spacing_mm: Sequence[float],
) -> np.ndarray:
  """Fills each block of voxels with the most frequent class in it.

  The blocks are cubes in mm, as far as voxels allow, with sides of 1 / 32 to
  1 / 9 of the volume's shortest side, but never so large that an object
  vanishes.

  Args:
    label: as for `draw_scribbles`.
    rng: random generator.
    spacing_mm: the distance between voxels along each axis.

  Returns:
    As `draw_scribbles`.
  """
  spacing = np.asarray(spacing_mm, float)
  side_mm = rng.uniform(1 / 32, 1 / 9) * (np.array(label.shape) * spacing).min()
  block = np.maximum(np.rint(side_mm / spacing).astype(int), 1)
  found = list(objects(label))
  while True:
    coarse = geometry.low_resolution(label, block=block.tolist())
    if all((coarse[box][mask] == value).any() for value, box, mask in found):
      return coarse
    block = np.maximum(block // 2, 1)


def _mark(drawn, seen, centre, value):
  """Draws a disc around a pixel, which holds no pixel of another class.

  Args:
    drawn: label map of a slice, uint8 [H, W], which is changed.
    seen: the classes of the slice, uint8 [H, W].
    centre: row and column of the pixel.
    value: its class.
  """
  reach = int(_RADII[0])
  window = tuple(slice(max(0, c - reach), c + reach + 1) for c in centre)
  first = [part.start for part in window]
  row, column = np.indices(seen[window].shape)
  distance = np.hypot(
      row + first[0] - centre[0], column + first[1] - centre[1])
  for radius in _RADII:
    disc = distance <= radius
    if (seen[window][disc] == value).all():
      drawn[window][disc] = value
      return
