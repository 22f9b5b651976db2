"""Weak annotations, good and faulty, from exact label maps; pure and seeded.

Every connected component of every class becomes one shape. A good label has a
graded quality; a fault is one of `manifest.FAULTS` and spoils all shapes of the
image alike, as an annotation made on another frame would. Boxes and polygons
are spoilt by their corners; every other kind is drawn from a spoilt label map.

`NOISE` spoils a label map itself; any kind can be drawn from the result.
"""

from collections.abc import Sequence
import pathlib
from typing import Any

from hybridseg import types
import numpy as np
from scipy import ndimage
from scipy import sparse
from scipy.sparse import csgraph

from data_prep import manifest
from data_prep import rasterize
from data_prep import rle

DEFAULT_KINDS = ('box', 'polygon')
KINDS = (
    *DEFAULT_KINDS, 'ellipse', 'scribble', 'points', 'extreme_points',
    'coarse_mask', 'tag')
FAULTS = manifest.FAULTS[1:]

_NUM_TRIES = 60
_NUM_REDRAWS = 5
_GOOD_IOU = 0.55
_STROKE_WIDTHS = (3.0, 2.0, 1.0)  # Pixels; the first that stays inside.
_STROKE_GRID = 160  # Strokes through more pixels go from block to block.


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
  depth = _depth(mask)
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


def fitted_ellipse(mask: np.ndarray, *, scale: float) -> list[float]:
  """Returns the ellipse with the second moments of the object.

  A filled ellipse has the variance r^2 / 4 along an axis of radius r, so the
  radii are scale * 2 * sqrt(eigenvalues of the covariance of x and y); each
  pixel adds 1 / 12, the variance of its own area.

  Args:
    mask: the object, bool [H, W], not empty.
    scale: factor of both radii; 1 keeps the area of an ellipse.

  Returns:
    [cx, cy, rx, ry, angle_deg] in pixels and degrees, rx >= ry; the angle, in
    [0, 180], turns the x axis towards the y axis.
  """
  rows, columns = np.nonzero(mask)
  x, y = columns + 0.5, rows + 0.5
  cx, cy = x.mean(), y.mean()
  xx, yy = ((v**2).mean() + 1 / 12 for v in (x - cx, y - cy))
  xy = ((x - cx) * (y - cy)).mean()
  mean, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
  angle_deg = np.degrees(np.arctan2(2 * xy, xx - yy)) / 2 % 180
  # The smaller eigenvalue is at least 1 / 12, but for the rounding.
  radii = 2 * scale * np.sqrt([mean + spread, max(mean - spread, 1 / 12)])
  return [float(v) for v in (cx, cy, *radii, angle_deg)]


def interior_scribble(
    mask: np.ndarray, rng: np.random.Generator, *, length: float = 1.0
) -> list[list[float]]:
  """Draws one stroke along the middle of the object.

  The cheapest path between two random pixels of the interior (at least 0.3 of
  the greatest depth) that are far apart; a pixel costs about 1 / its distance
  to the outside. It stays inside: of an object that is not 4-connected it takes
  the part with the deepest pixel. On more than 160 rows or columns it goes from
  block to block of those that lie inside as a whole.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: source of the two ends and of the wiggle.
    length: share of the path that is drawn, in (0, 1].

  Returns:
    Vertices [[x, y], ...], one at least.
  """
  block = -(-max(mask.shape) // _STROKE_GRID)
  inside = _whole_blocks(mask, block)
  if not inside.any():
    block, inside = 1, mask
  depth = _depth(inside)[inside]
  graph = _graph(inside, (1 + 0.3 * rng.random(depth.size)) / depth)
  end = int(np.argmax(depth))
  for _ in range(2):
    distance, previous = csgraph.dijkstra(
        graph, directed=False, indices=end, return_predecessors=True)
    is_candidate = np.isfinite(distance) & (depth >= 0.3 * depth.max())
    distance = np.where(is_candidate, distance, -1)
    end = int(rng.choice(np.flatnonzero(distance >= 0.8 * distance.max())))
  path = _trace(previous, end)
  count = max(round(length * len(path)), 1)
  first = rng.integers(len(path) - count + 1)
  return _vertices(inside, path[first : first + count], block)


def border_scribble(
    mask: np.ndarray, rng: np.random.Generator
) -> list[list[float]]:
  """Draws one closed stroke through the outermost pixels of the object.

  From a random pixel of the border to the one farthest along it, and back by
  the other side; of an object in parts, or with holes, one border.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: source of the start.

  Returns:
    Vertices [[x, y], ...], pixel centres of `mask`, one at least.
  """
  ring = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)))
  cost = 1 + 0.3 * rng.random(int(ring.sum()))
  start = int(rng.integers(cost.size))
  distance, previous = csgraph.dijkstra(
      _graph(ring, cost), directed=False, indices=start,
      return_predecessors=True)
  end = int(np.argmax(np.where(np.isfinite(distance), distance, -1)))
  there = _trace(previous, end)
  cost[there[1:-1]] *= 1e3  # So that the way back is another one, if any.
  _, previous = csgraph.dijkstra(
      _graph(ring, cost), directed=False, indices=end, return_predecessors=True)
  return _vertices(ring, there + _trace(previous, start)[1:], 1)


def background_scribble(
    label: np.ndarray, rng: np.random.Generator, *, length: float = 1.0
) -> list[list[float]]:
  """Draws one stroke of class 0 that stays off objects and unlabelled pixels.

  Args:
    label: classes, uint8 [H, W].
    rng: source of the two ends and of the wiggle.
    length: share of the path that is drawn, in (0, 1].

  Returns:
    Vertices [[x, y], ...]; none if there is no background.
  """
  free = label == 0
  return interior_scribble(free, rng, length=length) if free.any() else []


def interior_points(
    mask: np.ndarray, rng: np.random.Generator, *, num_points: int
) -> list[list[float]]:
  """Draws pixel centres of the interior, the most interior first.

  The first is the deepest pixel; the others are random among those of at least
  half its distance to the outside, or the deepest where these are too few.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: source of all but the first.
    num_points: how many; a smaller object gives as many as it has pixels.

  Returns:
    Points [[x, y], ...], all different.
  """
  depth = _depth(mask)[mask]
  order = np.argsort(-depth, kind='stable')
  pool = max(int((depth >= depth.max() / 2).sum()), num_points)
  more = rng.permutation(np.arange(1, min(pool, order.size)))[: num_points - 1]
  # Ranks by depth, so sorted ranks give the most interior first.
  return _pixel_centres(mask, order[[0, *np.sort(more)]])


def extreme_points(
    mask: np.ndarray, rng: np.random.Generator, *, jitter: float
) -> list[list[float]]:
  """Returns the leftmost, topmost, rightmost and lowest pixel centre.

  Of several, a random one. Each coordinate then moves by jitter * N(0, 1) times
  the width or height of the object, and stays within the image.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: source of the choice and of the jitter.
    jitter: standard deviation as a share of the object's size.

  Returns:
    [[x, y] x 4].
  """
  points = np.argwhere(mask)[:, ::-1] + 0.5
  x, y = points.T
  extreme = np.array([
      rng.choice(points[at])
      for at in (x == x.min(), y == y.min(), x == x.max(), y == y.max())])
  size = np.ptp(points, axis=0) + 1
  extreme += jitter * size * rng.standard_normal((4, 2))
  return np.clip(extreme, 0.5, np.array(mask.shape[::-1]) - 0.5).tolist()


def low_resolution(label: np.ndarray, *, block: int) -> np.ndarray:
  """Gives every block the most frequent class of its pixels.

  Unlabelled pixels do not vote; a block of nothing else stays unlabelled. Of
  equally frequent classes the lowest wins. Blocks start in the upper left
  corner, the last ones may be cut. A block of 1 changes nothing.

  Args:
    label: classes, uint8 [H, W].
    block: height and width of a block in pixels.

  Returns:
    Classes, uint8 [H, W].
  """
  height, width = label.shape
  padded = np.pad(
      label, ((0, -height % block), (0, -width % block)),
      constant_values=types.UNLABELLED)
  blocks = padded.reshape(
      padded.shape[0] // block, block, padded.shape[1] // block, block)
  most = np.zeros((blocks.shape[0], blocks.shape[2]), np.int64)
  winner = np.full(most.shape, types.UNLABELLED, np.uint8)
  for value in np.unique(label[label != types.UNLABELLED]):
    votes = (blocks == value).sum((1, 3))
    winner[votes > most] = value
    most = np.maximum(most, votes)
  return winner.repeat(block, 0).repeat(block, 1)[:height, :width]


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
    num_classes: int | None = None,
) -> dict[str, Any]:
  """Draws one weak annotation of an exact label map.

  Good boxes grow from tight to 10 % looser on each side, good polygons fall
  from 12 to 4 vertices, as `quality_level` falls from 1 to 0. A label with an
  IoU below 0.55 is drawn again, with more care each time; what a tight box
  cannot do better stays. The same holds for ellipses, whose radii grow by up to
  20 %, and coarse masks, whose blocks grow from 1 / 32 to 1 / 9 of the shorter
  side of the image, but never so far that an object vanishes. Scribbles get
  shorter, points fewer (3 to 1 per object), extreme points move by up to 5 % of
  the object's size. Background has one stroke, or as many points as all objects
  together.

  A fault of these kinds spoils the label map that they are drawn from: all
  objects are shifted by 0.6 to 1.2 sizes, shrink to 13 to 27 % of their area,
  move to a random place off all objects, or become background ('missing'). A
  faulty tag names no class if 'missing', else an absent class instead of one
  that is present, or no class if none is absent.

  Args:
    truth: exact classes, uint8 [H, W].
    rng: source of all randomness.
    kind: one of `KINDS`.
    quality_level: 0 (coarse) to 1 (careful).
    fault: '' or one of `FAULTS`, planted on top.
    num_classes: number of classes, background included, which a faulty tag is
      drawn from; None takes those up to the highest in `truth`.

  Returns:
    An annotation as a manifest holds it; without shapes, but for those of class
    0, if `truth` has no object or the fault is 'missing'.

  Raises:
    ValueError: if `kind` or `fault` is unknown.
  """
  if kind not in KINDS:
    raise ValueError(f'Unknown {kind=}; known: {KINDS}.')
  if fault and fault not in FAULTS:
    raise ValueError(f'Unknown {fault=}; known: {FAULTS}.')
  if kind == 'tag':
    return _draw_tag(truth, rng, fault=fault, num_classes=num_classes)
  if kind not in DEFAULT_KINDS:
    return _draw_from_map(
        truth, rng, kind=kind, quality_level=quality_level, fault=fault)
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
    kinds: Sequence[str] = DEFAULT_KINDS,
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
    num_classes: int | None = None,
) -> manifest.Row:
  """Returns the strong row with a simulated weak label in place of its mask.

  An image without object keeps no fault: there is nothing to spoil.

  The stored quality is the IoU over the pixels that the annotation labels. Of
  scribbles, points and extreme points these are few, so that even a faulty one
  may score high, and discs that reach over the outline lower the score of an
  exact one; a tag labels none and always scores 1.

  Args:
    row: the strong row.
    truth: its exact classes, uint8 [H, W].
    rng: source of all randomness.
    plan: `kind`, `quality_level` and `fault`, as `plan_faults` gives them.
    num_classes: see `simulate_weak`.

  Returns:
    The weak row; its `evaluation` holds truth, quality and fault.
  """
  annotation = simulate_weak(truth, rng, **plan, num_classes=num_classes)
  score = quality(
      draw(annotation, truth.shape), truth, int(truth.max(initial=1)) + 1)
  return row._replace(
      role='weak', annotation=annotation, annotator='simulated',
      evaluation={
          'truth': row.annotation, 'quality': round(score, 4),
          'fault': plan['fault'] if truth.any() else ''})


def add_noise(
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    noise: str,
    num_classes: int,
    strength: float,
) -> np.ndarray:
  """Spoils a label map by one function of `NOISE`.

  Args:
    label: classes, uint8 [H, W]; unlabelled pixels stay unlabelled, and no
      other pixel becomes so.
    rng: source of all randomness.
    noise: a key of `NOISE`.
    num_classes: number of classes, background included.
    strength: in (0, 1]; what it scales depends on the noise.

  Returns:
    Classes, uint8 [H, W]; a map without objects changes only by
    'hallucinate_object'.

  Raises:
    ValueError: if `noise` is unknown or `strength` out of range.
  """
  if noise not in NOISE:
    raise ValueError(f'Unknown {noise=}; known: {[*NOISE]}.')
  if not 0 < strength <= 1:
    raise ValueError(f'{strength=} is not in (0, 1].')
  return NOISE[noise](label, rng, num_classes=num_classes, strength=strength)


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


def _depth(mask):
  """Returns the distance to the outside, which the image border is part of."""
  return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def _whole_blocks(mask, block):
  """Returns which blocks of bool [H, W] lie inside as a whole."""
  height, width = (size // block for size in mask.shape)
  cut = mask[: height * block, : width * block]
  return cut.reshape(height, block, width, block).all((1, 3))


def _graph(inside, cost):
  """Returns the steps between neighbours among the N pixels inside, [N, N].

  A diagonal step needs both pixels beside it, so that a thin line stays inside.

  Args:
    inside: bool [H, W].
    cost: of each pixel inside, in the order of rows, float [N].
  """
  index = np.cumsum(inside).reshape(inside.shape) - 1
  right = inside[:, :-1] & inside[:, 1:]
  down = inside[:-1] & inside[1:]
  square = right[:-1] & right[1:]
  starts, ends, lengths = [], [], []
  for start, end, where, length in (
      (index[:, :-1], index[:, 1:], right, 1.0),
      (index[:-1], index[1:], down, 1.0),
      (index[:-1, :-1], index[1:, 1:], square, np.sqrt(2)),
      (index[:-1, 1:], index[1:, :-1], square, np.sqrt(2))):
    starts.append(start[where])
    ends.append(end[where])
    lengths.append(np.full(starts[-1].size, length))
  starts, ends = np.concatenate(starts), np.concatenate(ends)
  weights = np.concatenate(lengths) * (cost[starts] + cost[ends])
  return sparse.csr_array(
      (weights, (starts, ends)), shape=(cost.size, cost.size))


def _trace(previous, end):
  """Returns the pixels from `end` back to where the search started."""
  path = [end]
  while previous[path[-1]] >= 0:
    path.append(int(previous[path[-1]]))
  return path


def _pixel_centres(mask, index):
  """Returns [[x, y], ...] of pixels numbered among those inside."""
  return (np.argwhere(mask)[index][:, ::-1] + 0.5).tolist()


def _vertices(inside, path, block):
  """Returns [[x, y], ...] of a path without those on a straight line."""
  path = np.array(_pixel_centres(inside, path)) * block
  if len(path) > 2:
    step = np.diff(path, axis=0)
    turns = np.any(step[1:] != step[:-1], axis=1)
    path = path[np.concatenate([[True], turns, [True]])]
  return path.tolist()


def _draw_tag(truth, rng, *, fault, num_classes):
  """Returns the classes that are present, or wrong ones, as an annotation."""
  present = np.setdiff1d(truth, [0, types.UNLABELLED])
  if fault and present.size:
    classes = np.arange(1, num_classes or present[-1] + 1)
    absent = np.setdiff1d(classes, present)
    if fault == 'missing' or not absent.size:
      present = absent[:0]
    else:
      present[rng.integers(present.size)] = rng.choice(absent)
  return {'kind': 'tag', 'labels': np.sort(present).tolist()}


def _draw_from_map(truth, rng, *, kind, quality_level, fault):
  """Draws a kind of `_DRAW_FNS`, if need be from a spoilt label map."""
  label = truth
  if fault and components(truth):
    label = _FAULT_MAP_FNS[fault](truth, rng)
  num_classes = 1 + max((v for v, _ in components(label)), default=0)
  for redraw in range(1 + _NUM_REDRAWS):
    annotation = _DRAW_FNS[kind](
        label, rng, min(quality_level + redraw / _NUM_REDRAWS, 1.0))
    # Care does not help the others.
    if kind not in ('ellipse', 'coarse_mask') or _GOOD_IOU <= quality(
        draw(annotation, label.shape), label, num_classes):
      break
  return annotation


def _draw_ellipses(label, rng, quality_level):
  del rng
  objects = components(label)
  scale = 1 + 0.2 * (1 - quality_level)
  return _annotation(
      [fitted_ellipse(mask, scale=scale) for _, mask in objects],
      [value for value, _ in objects], 'ellipse')


def _draw_scribbles(label, rng, quality_level):
  """Draws background first: where strokes cross, the object counts."""
  length = 0.4 + 0.6 * quality_level
  strokes = [background_scribble(label, rng, length=length)]
  labels = [0]
  for value, mask in components(label):
    strokes.append(interior_scribble(mask, rng, length=length))
    labels.append(value)
  if not strokes[0]:
    strokes, labels = strokes[1:], labels[1:]
  annotation = _annotation(strokes, labels, 'scribble')
  for width in _STROKE_WIDTHS:
    annotation['width'] = width
    drawn = draw(annotation, label.shape)
    if np.all((drawn == label) | (drawn == types.UNLABELLED)):
      break
  return annotation


def _draw_points(label, rng, quality_level):
  """Draws background first: where discs overlap, the object counts."""
  num_points = 1 + round(2 * quality_level)
  points, labels = [], []
  for value, mask in components(label):
    points += interior_points(mask, rng, num_points=num_points)
    labels += [value] * (len(points) - len(labels))
  far = _depth(label == 0)
  if far.any():
    # No disc reaches an object, if there is room.
    free = far > min(rasterize.POINT_RADIUS, far.max() / 2)
    count = min(len(points) or num_points, int(free.sum()))
    index = rng.choice(int(free.sum()), count, replace=False)
    points = _pixel_centres(free, index) + points
    labels = [0] * count + labels
  return _annotation(points, labels, 'points')


def _draw_extreme_points(label, rng, quality_level):
  objects = components(label)
  jitter = 0.05 * (1 - quality_level)
  return _annotation(
      [extreme_points(mask, rng, jitter=jitter) for _, mask in objects],
      [value for value, _ in objects], 'extreme_points')


def _draw_coarse_mask(label, rng, quality_level):
  del rng
  objects = components(label)
  share = 1 / 32 + (1 / 9 - 1 / 32) * (1 - quality_level)
  block = max(round(share * min(label.shape)), 1)
  coarse = low_resolution(label, block=block)
  while not all((coarse[mask] == value).any() for value, mask in objects):
    block //= 2
    coarse = low_resolution(label, block=block)
  labels = np.setdiff1d(coarse, [0, types.UNLABELLED]).tolist()
  return {'kind': 'coarse_mask', 'labels': labels,
          'rles': [rle.encode_rle(coarse == value) for value in labels]}


_DRAW_FNS = {
    'ellipse': _draw_ellipses,
    'scribble': _draw_scribbles,
    'points': _draw_points,
    'extreme_points': _draw_extreme_points,
    'coarse_mask': _draw_coarse_mask,
}


def _paint(label, objects):
  """Returns background with the objects in order; unlabelled pixels stay."""
  painted = np.zeros_like(label)
  for value, mask in objects:
    painted[mask] = value
  return np.where(label == types.UNLABELLED, label, painted)


def _size(mask):
  """Returns height and width of the tight box."""
  x0, y0, x1, y1 = tight_box(mask)
  return np.array([y1 - y0, x1 - x0])


def _moved(mask, step):
  """Returns bool [H, W] moved by (down, right) whole pixels, cut off there."""
  height, width = mask.shape
  down = int(np.clip(np.rint(step[0]), -height, height))
  right = int(np.clip(np.rint(step[1]), -width, width))
  moved = np.zeros_like(mask)
  moved[max(down, 0) : height + min(down, 0),
        max(right, 0) : width + min(right, 0)] = mask[
            max(-down, 0) : height - max(down, 0),
            max(-right, 0) : width - max(right, 0)]
  return moved


def _largest(mask):
  """Returns the largest 8-connected part."""
  parts, count = ndimage.label(mask, structure=np.ones((3, 3)))
  if count < 2:
    return mask
  return parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])


def _placed(mask, free, rng):
  """Moves an object to a random place, smaller if need be.

  Args:
    mask: the object, bool [H, W].
    free: where it may lie, bool [H, W].
    rng: source of the places.

  Returns:
    The object there, or where most of it is free, and whether all of it is.
  """
  height, width = mask.shape
  x0, y0, x1, y1 = map(int, tight_box(mask))
  crop = mask[y0:y1, x0:x1]
  best, best_overlap = mask, np.inf
  for attempt in range(_NUM_TRIES):
    scale = 1.0 if attempt < 20 else 0.97 ** (attempt - 20)
    small = _largest(rasterize.resize_label(
        crop, size=tuple(max(round(s * scale), 1) for s in crop.shape)))
    top = rng.integers(height - small.shape[0] + 1)
    left = rng.integers(width - small.shape[1] + 1)
    there = (slice(top, top + small.shape[0]),
             slice(left, left + small.shape[1]))
    overlap = (small & ~free[there]).sum() if small.any() else np.inf
    if overlap < best_overlap:
      best, best_overlap = np.zeros_like(mask), overlap
      best[there] = small
    if overlap == 0:
      break
  return best, best_overlap == 0


def _random_disc(free, rng, *, radius):
  """Returns a disc within `free`, at least a pixel, smaller if need be."""
  depth = _depth(free)
  radius = max(min(radius, depth.max() - 1), 0.5)
  centres = np.argwhere(depth > radius)
  row, column = centres[rng.integers(len(centres))]
  y, x = np.ogrid[: free.shape[0], : free.shape[1]]
  return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def _shift_map(label, rng):
  """Moves all objects by 0.6 to 1.2 sizes in one direction."""
  objects = components(label)
  best, best_iou = None, 2.0
  for _ in range(_NUM_TRIES):
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.2)
    direction = distance * np.array([np.sin(angle), np.cos(angle)])
    moved = [(v, _moved(m, direction * _size(m))) for v, m in objects]
    if any(
        after.sum() < 0.3 * before.sum()
        for (_, after), (_, before) in zip(moved, objects, strict=True)):
      continue
    candidate = _paint(label, moved)
    iou = quality(candidate, label, 1 + max(v for v, _ in objects))
    if iou < best_iou:
      best, best_iou = candidate, iou
    if iou < 0.3:
      break
  return _shrink_map(label, rng) if best is None else best


def _shrink_map(label, rng):
  """Shrinks each object about its middle to 13 to 27 % of its area."""
  share = rng.uniform(0.13, 0.27)
  shrunken = []
  for value, mask in components(label):
    x0, y0, x1, y1 = map(int, tight_box(mask))
    old = np.array([y1 - y0, x1 - x0])
    new = np.empty(2, int)
    # The longer side makes up for a shorter one that cannot go below a pixel.
    short = int(np.argmin(old))
    new[short] = max(round(np.sqrt(share) * old[short]), 1)
    new[1 - short] = max(round(share * old.prod() / new[short]), 1)
    small = _largest(rasterize.resize_label(
        mask[y0:y1, x0:x1], size=tuple(new.tolist())))
    if not small.any():
      small[new[0] // 2, new[1] // 2] = True
    top, left = np.array([y0, x0]) + (old - new) // 2
    there = np.zeros_like(mask)
    there[top : top + new[0], left : left + new[1]] = small
    shrunken.append((value, there))
  return _paint(label, shrunken)


def _misplace_map(label, rng):
  """Moves each object to a random place off all objects and off the others."""
  free = label == 0
  placed = []
  for value, mask in components(label):
    candidate, is_free = _placed(mask, free, rng)
    if not is_free and free.any():
      candidate = _random_disc(free, rng, radius=_size(mask).min() / 2)
    free &= ~candidate
    placed.append((value, candidate))
  return _paint(label, placed)


def _empty_map(label, rng):
  del rng
  return _paint(label, [])


_FAULT_MAP_FNS = {
    'shifted': _shift_map,
    'shrunken': _shrink_map,
    'wrong_place': _misplace_map,
    'missing': _empty_map,
}


def _noise_radius(mask, rng, strength):
  """Returns 0.25 to 0.5 * strength of the greatest depth, a pixel at least."""
  return max(strength * rng.uniform(0.25, 0.5) * _depth(mask).max(), 1.0)


def _dilate(label, rng, *, num_classes, strength):
  """Grows objects over background by `_noise_radius`."""
  del num_classes
  objects = components(label)
  grown = []
  for value, mask in objects:
    radius = _noise_radius(mask, rng, strength)
    grown.append((value, ndimage.distance_transform_edt(~mask) <= radius))
  return _paint(label, grown + objects)


def _erode(label, rng, *, num_classes, strength):
  """Takes `_noise_radius` off objects, but never their deepest pixels."""
  del num_classes
  eroded = []
  for value, mask in components(label):
    radius = _noise_radius(mask, rng, strength)
    depth = _depth(mask)
    eroded.append((value, mask & (depth > min(radius, depth.max() - 1e-6))))
  return _paint(label, eroded)


def _shift(label, rng, *, num_classes, strength):
  """Moves all objects one way, by 0.25 to 0.5 * strength sizes.

  By a pixel at least; what would lose over half of its pixels stays.
  """
  del num_classes
  angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.25, 0.5)
  direction = np.array([np.sin(angle), np.cos(angle)])
  moved = []
  for value, mask in components(label):
    step = strength * distance * direction * _size(mask)
    step = step if np.abs(step).max() > 0.5 else np.rint(direction)
    candidate = _moved(mask, step)
    is_kept = candidate.sum() >= 0.5 * mask.sum()
    moved.append((value, candidate if is_kept else mask))
  return _paint(label, moved)


def _rotate(label, rng, *, num_classes, strength):
  """Turns each object about its centre by 45 to 90 * strength degrees."""
  del num_classes
  turned = []
  for value, mask in components(label):
    angle = np.pi / 2 * strength * rng.uniform(0.5, 1) * rng.choice([-1, 1])
    cos, sin = np.cos(angle), np.sin(angle)
    back = np.array([[cos, -sin], [sin, cos]])
    centre = np.argwhere(mask).mean(0)
    candidate = ndimage.affine_transform(
        mask.astype(np.uint8), back, centre - back @ centre, order=0) > 0
    turned.append((value, candidate if candidate.any() else mask))
  return _paint(label, turned)


def _miss_object(label, rng, *, num_classes, strength):
  """Removes one object, whatever the strength."""
  del num_classes, strength
  objects = components(label)
  if objects:
    del objects[rng.integers(len(objects))]
  return _paint(label, objects)


def _hallucinate_object(label, rng, *, num_classes, strength):
  """Adds a copy of an object, or a disc, on background, touching no object.

  Evenly one or the other; a disc where there is nothing to copy or no room for
  the copy. The disc has a radius of strength / 6 of the shorter side of the
  image, or what room there is, and any class; strength does not scale a copy.
  """
  objects = components(label)
  near = ndimage.binary_dilation(label != 0, np.ones((3, 3)))
  if near.all():
    return label.copy()
  if objects and rng.uniform() < 0.5:
    value, mask = objects[rng.integers(len(objects))]
    added, is_free = _placed(mask, ~near, rng)
    if is_free:
      return _paint(label, [*objects, (value, added)])
  added = _random_disc(~near, rng, radius=strength * min(label.shape) / 6)
  return _paint(label, [*objects, (int(rng.integers(1, num_classes)), added)])


def _swap_classes(label, rng, *, num_classes, strength):
  """Gives one object another foreground class, if any; of any strength."""
  del strength
  objects = components(label)
  if objects and num_classes > 2:
    i = rng.integers(len(objects))
    value, mask = objects[i]
    others = np.setdiff1d(np.arange(1, num_classes), value)
    objects[i] = (int(rng.choice(others)), mask)
  return _paint(label, objects)


NOISE = {
    'dilate': _dilate,
    'erode': _erode,
    'shift': _shift,
    'rotate': _rotate,
    'miss_object': _miss_object,
    'hallucinate_object': _hallucinate_object,
    'swap_classes': _swap_classes,
}
