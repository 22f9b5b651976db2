"""Joins the rings of a polygon with holes to one outline, and divides them.

A polygon of a manifest is one closed outline without holes. The outline that
stands for a polygon with holes goes round the outer ring, from its first point
to the first point of a hole, round the hole in the opposite direction, and back
to the first point of the outer ring. Each way to a hole is gone twice, in both
directions, so that it changes nothing by the even-odd rule.
"""

import numpy as np
from scipy import ndimage

Ring = list[list[float]]


def join(rings: list[Ring]) -> Ring:
  """Returns the outline that covers the outer ring without the holes.

  Args:
    rings: the outer ring and the holes, each a list of points [x, y] without
      the first point at its end.
  """
  outer, *holes = rings
  if not holes:
    return outer
  turn = _doubled_area(outer) > 0
  return connect([outer, *(
      hole if (_doubled_area(hole) > 0) != turn else [hole[0], *hole[:0:-1]]
      for hole in holes)])


def connect(rings: list[Ring]) -> Ring:
  """Returns an outline of rings, by ways from the first one that cover nothing.

  By the even-odd rule, it covers what an odd number of the rings encloses.
  """
  first, *others = rings
  return [*first, *(point for ring in others
                    for point in (first[0], *ring, ring[0]))]


def divide(points: Ring) -> list[Ring]:
  """Returns the rings that `join` made an outline of.

  The result has one ring, the outline itself, if `join` did not make it.
  """
  first = points[0]
  try:
    end = points.index(first, 1)
    rings = [points[:end]]
    while end < len(points):
      start = end + 1
      end = points.index(points[start], start + 1)
      rings.append(points[start:end])
      end += 1
      if end < len(points) and points[end] != first:
        return [points]
  except (ValueError, IndexError):
    return [points]
  whole = all(len(ring) > 2 for ring in rings)
  return rings if whole and join(rings) == points else [points]


def _doubled_area(ring):
  """Returns twice the area of a ring, negative if it turns the other way."""
  x, y = np.array(ring, float).T
  return float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def outlines(mask: np.ndarray) -> list[list[Ring]]:
  """Returns the rings of each part of a mask, along the edges of its pixels.

  Pixels of a part are connected by their edges. The rings of a part, the outer
  one first, neither cross nor pass a point twice. Drawing them by the even-odd
  rule at pixel centres gives the mask again.

  Args:
    mask: bool [H, W].
  """
  parts, _ = ndimage.label(mask)
  found = []
  for i, place in enumerate(ndimage.find_objects(parts), start=1):
    corner = np.array([place[1].start, place[0].start])
    rings = [(np.array(r) + corner).tolist()
             for r in _trace(_edges(parts[place] == i))]
    # Foreground lies to the right, so only the outer ring has this sign.
    found.append(sorted(rings, key=lambda r: _doubled_area(r) < 0))
  return found


def _edges(mask):
  """Returns the ends (x, y) of the edges of a mask by their starts.

  The edges are one pixel long, and the foreground lies to their right.
  """
  padded, edges = np.pad(mask, 1), {}
  for dy, dx, start, end in (
      (-1, 0, (0, 0), (1, 0)), (0, 1, (1, 0), (1, 1)),
      (1, 0, (1, 1), (0, 1)), (0, -1, (0, 1), (0, 0))):
    beside = np.roll(padded, (-dy, -dx), (0, 1))[1:-1, 1:-1]
    for y, x in np.argwhere(mask & ~beside).tolist():
      edges.setdefault((x + start[0], y + start[1]), []).append(
          (x + end[0], y + end[1]))
  return edges


def _trace(edges):
  """Returns closed rings of edges, none of which passes a point twice."""
  rings = []
  for first in sorted(edges):
    while edges[first]:
      path, place = [first], {first: 0}
      while True:
        point = _step(path, edges)
        if point in place:  # A loop is closed: take it off the path.
          at = place[point]
          rings.append(_corners(path[at:]))
          for gone in path[at + 1:]:
            del place[gone]
          del path[at + 1:]
          if at == 0 and not edges[first]:
            break
        else:
          place[point] = len(path)
          path.append(point)
  return rings


def _step(path, edges):
  """Takes an edge from the end of a path; returns where it leads.

  Where two parts touch at a corner, the path turns right and so stays with the
  pixel that it goes round.
  """
  ends = edges[path[-1]]
  if len(ends) > 1 and len(path) > 1:
    (x0, y0), (x1, y1) = path[-2:]
    right = x1 - (y1 - y0), y1 + (x1 - x0)
    if right in ends:
      ends.remove(right)
      return right
  return ends.pop()


def _corners(ring):
  """Returns the points of a ring at which it turns."""
  points = np.array(ring)
  before = points - np.roll(points, 1, axis=0)
  after = np.roll(points, -1, axis=0) - points
  return points[(before != after).any(1)].tolist()
