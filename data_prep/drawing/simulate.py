"""Simulates weak annotations, good and faulty, from exact label maps.

All functions are pure; randomness comes from the generator that they take.
Every connected component of every class becomes one shape. A good annotation is
drawn more or less carefully, according to its quality level. A fault, one of
`manifest.FAULTS`, spoils all shapes of an image alike, as if the annotation had
been made on another frame of the video. The table `annotation_kinds` lists, for
each kind, the function that draws it and what a fault changes.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np

from data_prep import manifest
from data_prep.drawing import annotation_kinds
from data_prep.drawing import annotators
from data_prep.drawing import label_noise
from data_prep.drawing import rasterize
from data_prep.shared import geometry

DEFAULT_KINDS = ('box', 'polygon')
KINDS = tuple(
    name for name, kind in annotation_kinds.TABLE.items() if kind.annotate)
FAULTS = manifest.FAULTS[1:]

_NUM_TRIES = 60
_NUM_REDRAWS = 5
_GOOD_IOU = 0.55


def simulate_weak(
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    kind: str,
    quality_level: float,
    fault: str = '',
    num_classes: int | None = None,
) -> dict[str, Any]:
  """Draws one weak annotation of an exact label map.

  As `quality_level` falls from 1 to 0, good annotations get coarser:

  - Boxes grow from tight to 10 % looser on each side.
  - Polygons have 4 vertices instead of 12.
  - The radii of ellipses grow by up to 20 %.
  - The blocks of coarse masks grow from 1 / 32 to 1 / 9 of the image's shorter
    side, but never so far that an object vanishes.
  - Lines get up to 1.5 times as wide.
  - Scribbles get shorter. The background always has one scribble.
  - Points get fewer, from 3 to 1 per object. The background has as many points
    as all objects together.
  - Extreme points move by up to 5 % of the object's size.

  If a box, polygon, ellipse, coarse mask or line has an IoU below 0.55 with the
  label map, the annotation is drawn again, with more care each time; the most
  careful one is kept whatever its IoU.

  A fault changes boxes and polygons after they are drawn; for all other kinds
  except tags, it changes the label map from which the annotation is drawn.
  Depending on the fault, all objects are shifted by 0.6 to 1.2 times their
  size, shrunk to 13 to 27 % of their area, moved to a random place outside all
  objects, or turned into background ('missing'). A faulty tag names no class if
  the fault is 'missing'. Otherwise it names an absent class instead of a
  present one, or no class if none is absent.

  Args:
    truth: exact classes, uint8 [H, W].
    rng: source of all randomness.
    kind: one of `KINDS`.
    quality_level: 0 (coarse) to 1 (careful).
    fault: one of `FAULTS`, or '' for a good annotation.
    num_classes: number of classes, background included, from which a faulty tag
      draws its wrong class; None counts up to the highest class in `truth`.

  Returns:
    An annotation as a manifest holds it. If `truth` has no object or the fault
    is 'missing', the annotation has no shapes except those of class 0.

  Raises:
    ValueError: if `kind` or `fault` is unknown.
  """
  if kind not in KINDS:
    raise ValueError(f'Unknown {kind=}; known: {KINDS}.')
  if fault and fault not in FAULTS:
    raise ValueError(f'Unknown {fault=}; known: {FAULTS}.')
  row = annotation_kinds.TABLE[kind]
  is_spoilt = bool(fault and geometry.components(truth))
  label = truth
  if is_spoilt and row.spoilt == 'map':
    label = label_noise.add_fault(truth, rng, fault=fault)
  drawn = _draw_with_care(label, rng, row, quality_level)
  if is_spoilt and row.spoilt == 'classes':
    drawn = drawn._replace(labels=_wrong_classes(
        np.array(drawn.labels), rng, fault, num_classes))
  elif is_spoilt and row.spoilt == 'corners':
    drawn = annotators.Drawn((), ()) if fault == 'missing' else drawn._replace(
        shapes=_FAULT_FNS[fault](
            drawn.shapes, drawn.labels, truth, rng, kind))
  return _annotation(drawn, row)


def _draw_with_care(label, rng, row, quality_level):
  """Draws the objects of a label map, and redraws them if the IoU is low."""
  for redraw in range(1 + _NUM_REDRAWS):
    drawn = row.annotate(
        label, rng, min(quality_level + redraw / _NUM_REDRAWS, 1.0))
    # Kinds that do not label every pixel are drawn only once: their IoU does
    # not show how carefully they were drawn.
    if not row.is_dense or _iou(drawn, row, label) >= _GOOD_IOU:
      break
  return drawn


def _wrong_classes(present, rng, fault, num_classes):
  """Returns the classes that a faulty tag names."""
  classes = np.arange(1, num_classes or present[-1] + 1)
  absent = np.setdiff1d(classes, present)
  if fault == 'missing' or not absent.size:
    return []
  present[rng.integers(present.size)] = rng.choice(absent)
  return np.sort(present).tolist()


def draw(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
  """Returns the label map of a simulated annotation, uint8 [H, W]."""
  return rasterize.rasterize(annotation, size=size, root=pathlib.Path())


def plan_faults(
    num_weak: int,
    rng: np.random.Generator,
    *,
    fault_fraction: float,
    kinds: Sequence[str] = DEFAULT_KINDS,
) -> list[dict[str, Any]]:
  """Draws the kind, the quality level and the fault of each weak annotation.

  Every kind gets about the same number of annotations. Of all annotations,
  round(fault_fraction * num_weak) are faulty, spread evenly over the types of
  fault and over the kinds.

  Returns:
    The arguments `kind`, `fault` and `quality_level` of `simulate_weak` for
    each annotation, in random order.
  """
  num_faulty = round(fault_fraction * num_weak)
  faults = [FAULTS[i % len(FAULTS)] for i in range(num_faulty)]
  faults += [''] * (num_weak - num_faulty)
  drawn = [kinds[(i // len(FAULTS)) % len(kinds)] for i in range(num_faulty)]
  drawn += [kinds[i % len(kinds)] for i in range(num_weak - num_faulty)]
  return [
      dict(kind=drawn[i], fault=faults[i], quality_level=float(rng.uniform()))
      for i in rng.permutation(num_weak)
  ]


def weak_row(
    row: manifest.Row,
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    plan: dict[str, Any],
    num_classes: int | None = None,
) -> manifest.Row:
  """Replaces the mask of a strong row by a simulated weak annotation.

  An image without objects gets no fault, since there is nothing to spoil.

  The stored quality is the IoU with the truth over the pixels that the
  annotation labels. Scribbles, points and extreme points label few pixels, so
  that even a faulty annotation may have a high quality. Conversely, the discs
  drawn for points may reach over the outline of an object and lower the quality
  of a good annotation. A tag labels no pixel and always has the quality 1.

  Args:
    row: the strong row.
    truth: exact classes of its image, uint8 [H, W].
    rng: source of all randomness.
    plan: `kind`, `quality_level` and `fault`, as `plan_faults` returns them.
    num_classes: see `simulate_weak`.

  Returns:
    The weak row; its field `evaluation` holds the truth, the quality and the
    fault.
  """
  annotation = simulate_weak(truth, rng, **plan, num_classes=num_classes)
  score = geometry.quality(
      draw(annotation, truth.shape), truth, int(truth.max(initial=1)) + 1)
  return row._replace(
      role='weak', annotation=annotation, annotator='simulated',
      evaluation={
          'truth': row.annotation, 'quality': round(score, 4),
          'fault': plan['fault'] if truth.any() else ''})


def _annotation(drawn, row):
  """Returns the drawn shapes as an annotation of a manifest."""
  annotation = {'kind': row.name}
  if row.field is not None:
    annotation[row.field] = [
        shape if row.is_mask else _rounded(shape, row.num_values)
        for shape in drawn.shapes]
  annotation['labels'] = list(drawn.labels)
  if row.has_width:
    annotation['width'] = drawn.width
  return annotation


def _rounded(shape, num_values):
  shape = np.round(shape, 2)
  return (shape.reshape(-1) if num_values else shape).tolist()


def _iou(drawn, row, label):
  """Returns the IoU of drawn shapes with a label map, averaged over classes."""
  return geometry.quality(
      draw(_annotation(drawn, row), label.shape), label,
      int(max(drawn.labels, default=0)) + 1)


def _clip(shape, size):
  return np.clip(shape, 0, [size[1], size[0]])


def _area(shape, kind):
  """Returns the area of a polygon, or of a box given by two opposite corners.

  Args:
    shape: corners (x, y), float [V, 2].
    kind: 'polygon' or 'box'.
  """
  if kind == 'box':
    return float(np.prod(shape[1] - shape[0]))
  x, y = shape.T
  return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _shifted(shapes, labels, truth, rng, kind):
  """Moves all shapes by 0.6 to 1.2 times their sizes in one direction."""
  row = annotation_kinds.TABLE[kind]
  best, best_iou = None, 2.0
  for _ in range(_NUM_TRIES):
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.2)
    moved = []
    for shape in shapes:
      step = distance * np.ptp(shape, axis=0) * [np.cos(angle), np.sin(angle)]
      moved.append(_clip(shape + step, truth.shape))
    kept = min(
        _area(m, kind) / max(_area(s, kind), 1e-6)
        for m, s in zip(moved, shapes, strict=True))
    iou = _iou(annotators.Drawn(moved, labels), row, truth)
    if kept >= 0.3 and iou < best_iou:
      best, best_iou = moved, iou
    # Shapes may still overlap the truth, with an IoU of up to 0.3, since this
    # fault is meant to be a near miss.
    if kept >= 0.3 and iou < 0.3:
      return moved
  return best or _shrunken(shapes, labels, truth, rng, kind)


def _shrunken(shapes, labels, truth, rng, kind):
  """Shrinks all shapes so that they have 13 to 27 % of the objects' area."""
  area = sum(_area(s, kind) for s in shapes)
  target = rng.uniform(0.13, 0.27) * np.isin(truth, labels).sum()
  scale = float(np.clip(np.sqrt(target / max(area, 1e-6)), 0.25, 0.55))
  # Keep every shape larger than about a pixel, so that it covers a pixel.
  shrink = lambda s: max(scale, 1.5 / max(np.ptp(s, axis=0).min(), 1.5))
  middle = lambda s: (s.min(0) + s.max(0)) / 2
  return [middle(s) + shrink(s) * (s - middle(s)) for s in shapes]


def _wrong_place(shapes, labels, truth, rng, kind):
  """Moves each shape to a random place outside all objects.

  A shape for which no free place is found is shrunk.
  """
  height, width = truth.shape
  placed = []
  for shape, value in zip(shapes, labels, strict=True):
    best, best_overlap = None, np.inf
    for attempt in range(_NUM_TRIES):
      scale = 1.0 if attempt < 20 else 0.97 ** (attempt - 20)
      small = (shape - shape.min(0)) * scale
      room = np.array([width, height]) - small.max(0)
      candidate = small + rng.uniform(0, 1, 2) * np.maximum(room, 0)
      drawn = draw(_annotation(
          annotators.Drawn([candidate], [value]),
          annotation_kinds.TABLE[kind]), truth.shape) > 0
      overlap = (drawn & (truth != 0)).sum() if drawn.any() else np.inf
      if overlap < best_overlap:
        best, best_overlap = candidate, overlap
      if overlap == 0:
        break
    placed.append(shape if best is None else best)
  return placed


_FAULT_FNS = {
    'shifted': _shifted,
    'shrunken': _shrunken,
    'wrong_place': _wrong_place,
}
