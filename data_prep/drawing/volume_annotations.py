"""Simulates weak annotations of volumes, good and faulty, from exact labels.

The cheapest honest annotation of a volume is a few slices that are drawn
exactly, while the others are left unlabelled. `volume_marks` draws the kinds
that label few voxels. A fault spoils what the annotator saw of the whole
volume, before slices are chosen or shapes are drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hybridseg import types
import numpy as np

from data_prep.drawing import volume_marks
from data_prep.shared import geometry

KINDS = ('slices', 'box', 'scribble', 'extreme_points', 'points',
         'coarse_mask', 'tag')
FAULTS = (
    'range_missing', 'shifted', 'exchanged', 'swapped', 'organ_missing')

_MARGIN = 0.1  # Largest share of its size by which a box is too large.


class Plan(NamedTuple):
  """What one volume gets: one of `KINDS`, and one of `FAULTS` or ''."""

  kind: str
  fault: str


class Drawn(NamedTuple):
  """A simulated annotation.

  Attributes:
    label: classes, uint8 [X, Y, Z], 255 = unlabelled.
    quality: mean IoU of the classes between what the annotator drew and the
      exact labels, where both are known; 1 for a tag, which draws nothing.
    spoilt: where what the annotator saw differs from the exact labels, bool
      [X, Y, Z].
    present: the classes that a tag names; None for other kinds.
  """

  label: np.ndarray
  quality: float
  spoilt: np.ndarray
  present: list[int] | None = None


def plan_faults(
    number: int,
    rng: np.random.Generator,
    *,
    fault_fraction: float,
    kinds: Sequence[str],
) -> list[Plan]:
  """Shares kinds and faults among volumes as evenly as possible, at random.

  The only fault that a tag can have is a missing class, 'organ_missing'.
  """
  faulty = round(fault_fraction * number)
  faults = [FAULTS[i % len(FAULTS)] for i in range(faulty)]
  faults += [''] * (number - faulty)
  order = rng.permutation(number)
  plans = [Plan(kinds[i % len(kinds)], faults[order[i]]) for i in range(number)]
  return [plan._replace(fault='organ_missing')
          if plan.kind == 'tag' and plan.fault else plan for plan in plans]


def simulate(
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    plan: Plan,
    spacing_mm: Sequence[float],
) -> Drawn:
  """Draws one weak annotation of exact labels.

  The annotator goes through the slices along the axis with the largest spacing,
  the last one of equals.

  Args:
    truth: classes, uint8 [X, Y, Z], whose first axis runs from left to right or
      from right to left.
    rng: random generator.
    plan: kind and fault.
    spacing_mm: the distance between voxels along each axis.

  Raises:
    ValueError: if the kind or the fault is unknown.
  """
  spacing = np.round(spacing_mm, 3)
  axis = max(range(3), key=lambda i: (spacing[i], i))
  seen = spoil(truth, rng, fault=plan.fault, axis=axis)
  present = None
  if plan.kind == 'slices':
    label = draw_slices(seen, rng, axis=axis)
  elif plan.kind == 'box':
    label = draw_boxes(seen, rng)
  elif plan.kind == 'scribble':
    label = volume_marks.draw_scribbles(seen, rng, axis=axis)
  elif plan.kind == 'extreme_points':
    label = volume_marks.draw_extreme_points(seen, rng, axis=axis)
  elif plan.kind == 'points':
    label = volume_marks.draw_points(seen, rng, axis=axis)
  elif plan.kind == 'coarse_mask':
    label = volume_marks.draw_coarse_mask(seen, rng, spacing_mm=spacing_mm)
  elif plan.kind == 'tag':
    label = np.full_like(seen, types.UNLABELLED)
    present = np.setdiff1d(seen, [0, types.UNLABELLED]).tolist()
  else:
    raise ValueError(f'Unknown kind={plan.kind!r}; known: {KINDS}.')
  values = truth[truth != types.UNLABELLED]
  number = int(values.max(initial=0)) + 1
  return Drawn(
      label, geometry.quality(label, truth, number), seen != truth, present)


def draw_slices(
    label: np.ndarray, rng: np.random.Generator, *, axis: int
) -> np.ndarray:
  """Keeps the slices of `volume_marks.choose_slices`, and no others."""
  planes = np.moveaxis(label, axis, 0)
  chosen = volume_marks.choose_slices(planes, rng)
  drawn = np.full_like(planes, types.UNLABELLED)
  drawn[chosen] = planes[chosen]
  return np.moveaxis(drawn, 0, axis)


def draw_boxes(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Replaces each object by a box, up to a tenth too large on each side.

  An object is a connected part of one class. Small boxes cover large ones.
  """
  boxes = []
  for value, tight, _ in volume_marks.objects(label):
    box = []
    for side, length in zip(tight, label.shape, strict=True):
      low, high = np.rint(
          rng.uniform(0, _MARGIN, 2) * (side.stop - side.start)).astype(int)
      box.append(slice(
          max(0, side.start - low), min(length, side.stop + high)))
    boxes.append((value, tuple(box)))
  drawn = np.zeros_like(label)
  size = lambda box: np.prod([side.stop - side.start for side in box[1]])
  for value, box in sorted(boxes, key=size, reverse=True):
    drawn[box] = value
  return drawn


def spoil(
    label: np.ndarray, rng: np.random.Generator, *, fault: str, axis: int
) -> np.ndarray:
  """Plants a fault in labels; without objects, or without a fault, in none.

  - range_missing: in a third of the slices with objects, all is background.
  - shifted: objects move along the axis by a fifth to two fifths of their
    extent, at least one slice.
  - exchanged: left and right are exchanged, that is, the volume is mirrored.
  - swapped: the two halves of a stack of slices with objects, each a quarter of
    the extent, at least one slice, are exchanged.
  - organ_missing: one class is background.

  Args:
    label: classes, uint8 [X, Y, Z].
    rng: random generator.
    fault: one of `FAULTS`, or ''.
    axis: the axis along which the annotator goes through the slices.

  Returns:
    A new array of the same shape.
  """
  label = label.copy()
  planes = np.moveaxis(label, axis, 0)  # A view.
  is_object = (planes > 0) & (planes != types.UNLABELLED)
  found = np.flatnonzero(is_object.any((1, 2)))
  if not fault or not found.size:
    return label
  first, extent = int(found[0]), int(found[-1] - found[0] + 1)
  if fault == 'range_missing':
    length = max(1, round(extent / 3))
    start = first + int(rng.integers(extent - length + 1))
    part = planes[start : start + length]
    part[is_object[start : start + length]] = 0
  elif fault == 'shifted':
    by = max(1, round(rng.uniform(0.2, 0.4) * extent))
    by *= int(rng.choice([-1, 1]))
    moved = np.zeros_like(planes)
    if by > 0:
      moved[by:] = planes[:-by]
    else:
      moved[:by] = planes[-by:]
    planes[:] = moved
  elif fault == 'exchanged':
    label = label[::-1].copy()
  elif fault == 'swapped':
    length = max(1, extent // 4)
    start = first + int(rng.integers(max(1, extent - 2 * length + 1)))
    end = min(len(planes), start + 2 * length)
    part = planes[start:end].copy()
    planes[start:end] = np.concatenate([part[length:], part[:length]])
  elif fault == 'organ_missing':
    label[label == rng.choice(np.unique(planes[is_object]))] = 0
  else:
    raise ValueError(f'Unknown {fault=}; known: {", ".join(FAULTS)}.')
  return label


def is_slices(label: np.ndarray) -> bool:
  """Returns whether some slices are drawn and the others are unlabelled.

  A slice is drawn if at most a tenth of it is unlabelled. This holds along one
  of the three axes, and at least one slice is drawn and one is not.
  """
  unknown = label == types.UNLABELLED
  for axis in range(3):
    share = np.moveaxis(unknown, axis, 0).mean((1, 2))
    is_drawn = share <= 0.1
    if is_drawn.any() and (share == 1).any() and (
        is_drawn | (share == 1)).all():
      return True
  return False
