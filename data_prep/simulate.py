"""Weak annotations, good and faulty, from exact label maps; pure and seeded.

Every connected component of every class becomes one shape. A good label has a
graded quality; a fault is one of `manifest.FAULTS` and spoils all shapes of the
image alike, as an annotation made on another frame would.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep import manifest
from data_prep import rasterize

KINDS = ('box', 'polygon')
FAULTS = manifest.FAULTS[1:]

_NUM_TRIES = 60
_NUM_REDRAWS = 5
_GOOD_IOU = 0.55


def components(label: np.ndarray) -> list[tuple[int, np.ndarray]]:
  """Returns (class, mask) of each 8-connected object of uint8 [H, W]."""
  found = []
  for value in np.unique(label):
    if value in (0, types.UNLABELLED):
      continue
    parts, count = ndimage.label(label == value, structure=np.ones((3, 3)))
    found += [(int(value), parts == i) for i in range(1, count + 1)]
  return found


def tight_box(mask: np.ndarray) -> list[float]:
  """Returns [x0, y0, x1, y1], exclusive ends, around bool [H, W]."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return [float(columns[0]), float(rows[0]),
          float(columns[-1] + 1), float(rows[-1] + 1)]


def loose_box(mask: np.ndarray, *, margin: float) -> list[float]:
  """Returns the tight box grown by `margin` of its size on each side."""
  x0, y0, x1, y1 = tight_box(mask)
  dx, dy = margin * (x1 - x0), margin * (y1 - y0)
  height, width = mask.shape
  return [max(x0 - dx, 0.0), max(y0 - dy, 0.0),
          min(x1 + dx, float(width)), min(y1 + dy, float(height))]


def coarse_polygon(
    mask: np.ndarray,
    rng: np.random.Generator,
    *,
    num_vertices: int,
    jitter: float,
) -> list[list[float]]:
  """Returns the outline of bool [H, W] as seen from its deepest pixel.

  In `num_vertices` directions, evenly spread from a random start, the vertex
  lies at the farthest pixel edge of the object in that sector, times
  1 + jitter * N(0, 1).
  """
  height, width = mask.shape
  depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
  cy, cx = np.unravel_index(np.argmax(depth), mask.shape)
  rows, columns = np.nonzero(mask)
  dy, dx = rows - cy, columns - cx
  sector = 2 * np.pi / num_vertices
  start = rng.uniform(0, sector)
  vertices = []
  for k in range(num_vertices):
    angle = start + k * sector
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = np.abs(dy * np.cos(angle) - dx * np.sin(angle))
    # The ray, one pixel wide; it always holds the centre itself.
    reach = along[across <= 0.71].max(initial=0.0) + 0.5
    reach *= max(1.0 + jitter * rng.standard_normal(), 0.3)
    vertices.append([
        float(np.clip(cx + 0.5 + reach * np.cos(angle), 0, width)),
        float(np.clip(cy + 0.5 + reach * np.sin(angle), 0, height))])
  return vertices


def quality(label: np.ndarray, truth: np.ndarray, num_classes: int) -> float:
  """Returns the mean IoU of the foreground classes that either map holds.

  Args:
    label: class per pixel, uint8 [H, W]; unlabelled pixels do not count.
    truth: the exact classes, uint8 [H, W].
    num_classes: number of classes, background included.

  Returns:
    1.0 if both are empty, 0.0 if only one is.
  """
  known = (label != types.UNLABELLED) & (truth != types.UNLABELLED)
  scores = []
  for value in range(1, num_classes):
    a, b = (label == value) & known, (truth == value) & known
    if a.any() or b.any():
      scores.append((a & b).sum() / (a | b).sum())
  return float(np.mean(scores)) if scores else 1.0


def simulate_weak(
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    kind: str,
    quality_level: float,
    fault: str = '',
) -> dict[str, Any]:
  """Draws one weak annotation of an exact label map.

  Good boxes grow from tight to 10 % looser on each side, good polygons fall
  from 12 to 4 vertices, as `quality_level` falls from 1 to 0. A label with an
  IoU below 0.55 is drawn again, with more care each time; what a tight box
  cannot do better stays.

  Args:
    truth: exact classes, uint8 [H, W].
    rng: source of all randomness.
    kind: 'box' or 'polygon'.
    quality_level: 0 (coarse) to 1 (careful).
    fault: '' or one of `FAULTS`, planted on top.

  Returns:
    An annotation as a manifest holds it; without shapes if `truth` has no
    object or the fault is 'missing'.

  Raises:
    ValueError: if `kind` or `fault` is unknown.
  """
  if kind not in KINDS:
    raise ValueError(f'Unknown {kind=}; known: {KINDS}.')
  if fault and fault not in FAULTS:
    raise ValueError(f'Unknown {fault=}; known: {FAULTS}.')
  objects = components(truth)
  labels = [value for value, _ in objects]
  shapes = []
  for redraw in range(1 + _NUM_REDRAWS if objects else 0):
    level = min(quality_level + redraw / _NUM_REDRAWS, 1.0)
    shapes = [
        _draw_shape(mask, rng, kind=kind, quality_level=level)
        for _, mask in objects
    ]
    if _iou(shapes, labels, kind, truth) >= _GOOD_IOU:
      break
  if fault == 'missing':
    shapes, labels = [], []
  elif fault and shapes:
    shapes = _FAULT_FNS[fault](shapes, labels, truth, rng, kind)
  return _annotation(shapes, labels, kind)


def _draw_shape(mask, rng, *, kind, quality_level):
  """Returns the vertices of one good shape, float [V, 2]."""
  carelessness = 1 - quality_level
  if kind == 'box':
    box = loose_box(mask, margin=0.10 * carelessness)
    return np.array(box).reshape(2, 2)
  return np.array(coarse_polygon(
      mask, rng, num_vertices=4 + round(8 * quality_level),
      jitter=0.02 + 0.10 * carelessness))


def draw(annotation: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
  """Returns the label map of a simulated annotation, uint8 [H, W]."""
  return rasterize.rasterize(annotation, size=size, root=pathlib.Path())


def plan_faults(
    num_weak: int,
    rng: np.random.Generator,
    *,
    fault_fraction: float,
    kinds: Sequence[str] = KINDS,
) -> list[dict[str, Any]]:
  """Draws kind, quality level and fault of each weak label.

  The kinds share the labels evenly; round(fault_fraction * num_weak) are
  faulty, spread evenly over the faults and over the kinds.
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
) -> manifest.Row:
  """Returns the strong row with a simulated weak label in place of its mask.

  An image without object keeps no fault: there is nothing to spoil.
  """
  annotation = simulate_weak(truth, rng, **plan)
  num_classes = int(truth.max(initial=1)) + 1
  score = quality(draw(annotation, truth.shape), truth, num_classes)
  return row._replace(
      role='weak', annotation=annotation, annotator='simulated',
      evaluation={
          'truth': row.annotation, 'quality': round(score, 4),
          'fault': plan['fault'] if truth.any() else ''})


def _annotation(shapes, labels, kind):
  """Returns the manifest form of shapes held as vertices, float [V, 2]."""
  shapes = [np.round(s, 2) for s in shapes]
  field = rasterize.SHAPE_FIELDS[kind]
  lists = [(s.reshape(-1) if kind == 'box' else s).tolist() for s in shapes]
  return {'kind': kind, field: lists, 'labels': list(labels)}


def _iou(shapes, labels, kind, truth):
  label = draw(_annotation(shapes, labels, kind), truth.shape)
  return quality(label, truth, int(max(labels)) + 1)


def _clip(shape, size):
  return np.clip(shape, 0, [size[1], size[0]])


def _area(shape, kind):
  """Returns the area that vertices [V, 2] enclose; a box has two corners."""
  if kind == 'box':
    return float(np.prod(shape[1] - shape[0]))
  x, y = shape.T
  return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _shifted(shapes, labels, truth, rng, kind):
  """Moves all shapes by 0.6 to 1.2 sizes in one direction."""
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
    iou = _iou(moved, labels, kind, truth)
    if kept >= 0.3 and iou < best_iou:
      best, best_iou = moved, iou
    # Some overlap is left on purpose: this fault is the near miss.
    if kept >= 0.3 and iou < 0.3:
      return moved
  return best or _shrunken(shapes, labels, truth, rng, kind)


def _shrunken(shapes, labels, truth, rng, kind):
  """Shrinks all shapes to 13 to 27 % of the area of the objects."""
  area = sum(_area(s, kind) for s in shapes)
  target = rng.uniform(0.13, 0.27) * np.isin(truth, labels).sum()
  scale = float(np.clip(np.sqrt(target / max(area, 1e-6)), 0.25, 0.55))
  # No shape below a pixel or so: it has to be drawn somewhere.
  shrink = lambda s: max(scale, 1.5 / max(np.ptp(s, axis=0).min(), 1.5))
  middle = lambda s: (s.min(0) + s.max(0)) / 2
  return [middle(s) + shrink(s) * (s - middle(s)) for s in shapes]


def _wrong_place(shapes, labels, truth, rng, kind):
  """Moves each shape to a random place off all objects, smaller if need be."""
  height, width = truth.shape
  placed = []
  for shape, value in zip(shapes, labels, strict=True):
    best, best_overlap = None, np.inf
    for attempt in range(_NUM_TRIES):
      scale = 1.0 if attempt < 20 else 0.97 ** (attempt - 20)
      small = (shape - shape.min(0)) * scale
      room = np.array([width, height]) - small.max(0)
      candidate = small + rng.uniform(0, 1, 2) * np.maximum(room, 0)
      drawn = draw(_annotation([candidate], [value], kind), truth.shape) > 0
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
