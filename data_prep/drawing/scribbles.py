"""Draws pen strokes inside an object or in the background.

All functions are pure; randomness comes from the generator that they take.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from data_prep.shared import geometry

# Images with more rows or columns than this are divided into blocks of pixels.
# Strokes then go from block to block, which is much faster.
_STROKE_GRID = 160


def interior_scribble(
    mask: np.ndarray, rng: np.random.Generator, *, length: float = 1.0
) -> list[list[float]]:
  """Draws one stroke along the middle of an object.

  The stroke is the cheapest path between two random interior pixels that lie
  far apart. A pixel's depth is its distance to the outside; interior pixels
  have at least 0.3 of the greatest depth, and a pixel on the path costs about
  1 / depth. The path stays inside: if an object is not 4-connected, the part
  with the deepest pixel is taken. If the image has more than 160 rows or
  columns, the path goes from block to block of pixels, through blocks that lie
  entirely inside.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: source of the two ends and of the wiggle.
    length: share of the path that is drawn, in (0, 1].

  Returns:
    Vertices [[x, y], ...], at least one.
  """
  block = -(-max(mask.shape) // _STROKE_GRID)
  inside = _whole_blocks(mask, block)
  if not inside.any():
    block, inside = 1, mask
  depth = geometry.depth_inside(inside)[inside]
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


def medial_line(mask: np.ndarray) -> list[list[float]]:
  """Draws the centre line of a line-shaped object, such as a vessel.

  The line is the cheapest path between the two pixels that lie farthest apart
  within the object; a pixel costs 1 / its squared distance to the outside. The
  line is then shortened at either end, since a stroke has round ends: it starts
  at the last pixel of the path whose inscribed disc still contains the first
  pixel, and its end is found in the same way. For a disc, little more than the
  centre is left.

  Args:
    mask: the object, bool [H, W], not empty. If it has several parts, only
      the part with the deepest pixel gets a line.

  Returns:
    Vertices [[x, y], ...], at least one.
  """
  depth = geometry.depth_inside(mask)[mask]
  even, middle = (
      _graph(mask, cost, may_cut_corners=True)
      for cost in (np.ones(depth.size), depth**-2.0))
  start = end = int(np.argmax(depth))
  for _ in range(2):
    start = end
    distance = csgraph.dijkstra(even, directed=False, indices=start)
    end = int(np.argmax(np.where(np.isfinite(distance), distance, -1)))
  _, previous = csgraph.dijkstra(
      middle, directed=False, indices=start, return_predecessors=True)
  path = np.array(_trace(previous, end))
  place = np.argwhere(mask)[path]
  holds = lambda pixel: np.flatnonzero(
      np.hypot(*(place - pixel).T) < depth[path])
  first, last = holds(place[0])[-1], holds(place[-1])[0]
  if first >= last:
    first = last = int(np.argmax(depth[path]))
  return _vertices(mask, path[first : last + 1], 1)


def background_scribble(
    label: np.ndarray, rng: np.random.Generator, *, length: float = 1.0
) -> list[list[float]]:
  """Draws one stroke in the background.

  The stroke avoids objects and unlabelled pixels.

  Args:
    label: classes, uint8 [H, W].
    rng: source of the two ends and of the wiggle.
    length: share of the path that is drawn, in (0, 1].

  Returns:
    Vertices [[x, y], ...]; none if there is no background.
  """
  free = label == 0
  return interior_scribble(free, rng, length=length) if free.any() else []


def _whole_blocks(mask, block):
  """Returns which blocks of pixels lie entirely inside a mask, bool [h, w]."""
  height, width = (size // block for size in mask.shape)
  cut = mask[: height * block, : width * block]
  return cut.reshape(height, block, width, block).all((1, 3))


def _graph(inside, cost, *, may_cut_corners=False):
  """Returns the costs of the steps between neighbouring pixels of an object.

  A diagonal step passes between two other pixels. By default both of them must
  lie inside, so that a thin line stays inside.

  Args:
    inside: the object, bool [H, W], with N true pixels.
    cost: cost of each pixel of the object, row by row, float [N].
    may_cut_corners: whether to allow a diagonal step even if one or both of the
      pixels next to it lie outside.

  Returns:
    The cost of each step, sparse float [N, N].
  """
  index = np.cumsum(inside).reshape(inside.shape) - 1
  right = inside[:, :-1] & inside[:, 1:]
  down = inside[:-1] & inside[1:]
  falls = inside[:-1, :-1] & inside[1:, 1:]
  rises = inside[:-1, 1:] & inside[1:, :-1]
  if not may_cut_corners:
    falls = rises = falls & rises
  starts, ends, lengths = [], [], []
  for start, end, where, length in (
      (index[:, :-1], index[:, 1:], right, 1.0),
      (index[:-1], index[1:], down, 1.0),
      (index[:-1, :-1], index[1:, 1:], falls, np.sqrt(2)),
      (index[:-1, 1:], index[1:, :-1], rises, np.sqrt(2))):
    starts.append(start[where])
    ends.append(end[where])
    lengths.append(np.full(starts[-1].size, length))
  starts, ends = np.concatenate(starts), np.concatenate(ends)
  weights = np.concatenate(lengths) * (cost[starts] + cost[ends])
  return sparse.csr_array(
      (weights, (starts, ends)), shape=(cost.size, cost.size))


def _trace(previous, end):
  """Returns the pixels of a path from `end` back to the start of the search."""
  path = [end]
  while previous[path[-1]] >= 0:
    path.append(int(previous[path[-1]]))
  return path


def _vertices(inside, path, block):
  """Returns the ends and turning points of a path of pixels, [[x, y], ...]."""
  path = np.array(geometry.pixel_centres(inside, path)) * block
  if len(path) > 2:
    step = np.diff(path, axis=0)
    turns = np.any(step[1:] != step[:-1], axis=1)
    path = path[np.concatenate([[True], turns, [True]])]
  return path.tolist()
