"""Simulates weak annotations of volumes, good and faulty, from exact labels.

The cheapest honest annotation of a volume is a few slices that are drawn
exactly, while the others are left unlabelled. A fault spoils what the annotator
saw of the whole volume, before slices are chosen or boxes are drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep.shared import geometry

KINDS = ('slices', 'box')
FAULTS = (
    'range_missing', 'shifted', 'exchanged', 'swapped', 'organ_missing')

_EVERY = 8  # One slice of this many is drawn.
_MARGIN = 0.1  # Largest share of its size by which a box is too large.


class Plan(NamedTuple):
  """What one volume gets: one of `KINDS`, and one of `FAULTS` or ''."""

  kind: str
  fault: str


def plan_faults(
    number: int,
    rng: np.random.Generator,
    *,
    fault_fraction: float,
    kinds: Sequence[str],
) -> list[Plan]:
  """Shares kinds and faults among volumes as evenly as possible, at random."""
  faulty = round(fault_fraction * number)
  faults = [FAULTS[i % len(FAULTS)] for i in range(faulty)]
  faults += [''] * (number - faulty)
  order = rng.permutation(number)
  return [Plan(kinds[i % len(kinds)], faults[order[i]]) for i in range(number)]


def simulate(
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    plan: Plan,
    axis: int,
) -> tuple[np.ndarray, float]:
  """Draws one weak annotation of exact labels.

  Args:
    truth: classes, uint8 [X, Y, Z], whose first axis runs from left to right or
      from right to left.
    rng: random generator.
    plan: kind and fault.
    axis: the axis along which the annotator goes through the slices.

  Returns:
    Classes, uint8 of the same shape, 255 = unlabelled; and the mean IoU of the
    classes between what the annotator drew and `truth`, where both are known.
  """
  seen = spoil(truth, rng, fault=plan.fault, axis=axis)
  label = draw_slices(seen, rng, axis=axis) if plan.kind == 'slices' else (
      draw_boxes(seen, rng))
  values = truth[truth != types.UNLABELLED]
  number = int(values.max(initial=0)) + 1
  return label, geometry.quality(label, truth, number)


def draw_slices(
    label: np.ndarray, rng: np.random.Generator, *, axis: int
) -> np.ndarray:
  """Keeps every eighth slice from a random one on; the others are unlabelled.

  If no object is seen in any of them, the slice with the largest area of
  objects is kept, too.
  """
  planes = np.moveaxis(label, axis, 0)
  chosen = np.zeros(len(planes), bool)
  chosen[rng.integers(min(_EVERY, len(planes))) :: _EVERY] = True
  area = ((planes > 0) & (planes != types.UNLABELLED)).sum((1, 2))
  if area.any() and not area[chosen].any():
    chosen[np.argmax(area)] = True
  drawn = np.full_like(planes, types.UNLABELLED)
  drawn[chosen] = planes[chosen]
  return np.moveaxis(drawn, 0, axis)


def draw_boxes(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Replaces each object by a box, up to a tenth too large on each side.

  An object is a connected part of one class. Small boxes cover large ones.
  """
  boxes = []
  for value in np.unique(label):
    if value in (0, types.UNLABELLED):
      continue
    parts, _ = ndimage.label(label == value, np.ones((3, 3, 3)))
    for part in ndimage.find_objects(parts):
      box = []
      for side, length in zip(part, label.shape, strict=True):
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
