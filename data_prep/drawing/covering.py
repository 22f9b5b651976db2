"""Computes which pixels a shape covers: one function per form of shape.

One pixel convention holds everywhere: the pixel in column j and row i covers
[j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5), and it belongs to a
shape if its centre lies inside the shape. A box with whole numbers therefore
holds exactly the columns x0 .. x1 - 1. The functions that `annotation_kinds`
lists take

  shape: the shape as the manifest holds it, float64 [...], in image pixels;
  scale: label-map pixels per image pixel along x and y, float [2];
  size: height and width of the label map;
  width: line width in image pixels, only for kinds that have a width

and return bool [H, W].
"""

import numpy as np

POINT_RADIUS = 2.0  # In pixels of the label map, not of the image.
# Half the diagonal of a pixel. A line with a smaller radius could pass between
# the pixel centres and cover none of them.
_LEAST_RADIUS = 0.71
_MAX_CROSSINGS = 2**20  # Of edges and rows that are computed at once.


def box(shape, scale, size):
  """Returns the pixels inside a box, [x0, y0, x1, y1]."""
  return rectangle(shape * np.tile(scale, 2), size)


def polygon(shape, scale, size):
  """Returns the pixels inside an outline, float [N, 2]."""
  return fill_polygon(shape * scale, size)


def point(shape, scale, size):
  """Returns the pixels in a disc of radius `POINT_RADIUS` around [x, y]."""
  return _disc(shape * scale, size)


def points(shape, scale, size):
  """Returns the pixels in discs of `POINT_RADIUS` around points, [N, 2]."""
  return np.any([_disc(p, size) for p in shape * scale], axis=0)


def between(shape, scale, size):
  """Returns the pixels in the bounding box of points, float [N, 2].

  The box is enlarged by half a pixel on each side, so that it includes the
  pixels that the points lie in.
  """
  corners = [*(shape.min(0) * scale - 0.5), *(shape.max(0) * scale + 0.5)]
  return rectangle(corners, size)


def stroke(shape, scale, size, width):
  """Returns the pixels within half a line width of a polyline, [N, 2]."""
  radius = max(width / 2 * scale.min(), _LEAST_RADIUS)
  return _stroke(shape * scale, radius, size)


def ellipse(shape, scale, size):
  """Returns the pixels inside an ellipse, [cx, cy, rx, ry, angle_deg].

  A positive angle turns the x axis towards the y axis.
  """
  cx, cy, rx, ry, angle_deg = shape
  y, x = _centres(size)
  dx, dy = x / scale[0] - cx, y / scale[1] - cy
  cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
  along, across = dx * cos + dy * sin, dy * cos - dx * sin
  return (along / rx) ** 2 + (across / ry) ** 2 <= 1.0


def _centres(size):
  """Returns the pixel centres, y [H, 1] and x [1, W]."""
  return np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None] + 0.5


def rectangle(corners, size):
  """Returns the pixels in [x0, y0, x1, y1], given in label-map pixels."""
  y, x = _centres(size)
  x0, y0, x1, y1 = corners
  return (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)


def _disc(centre, size):
  """Returns the pixels of a disc around a centre given in label-map pixels."""
  y, x = _centres(size)
  return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= POINT_RADIUS**2


def _stroke(vertices, radius, size):
  """Returns the pixels whose centres lie within `radius` of a polyline."""
  inside = np.zeros(size, bool)
  if len(vertices) == 1:
    vertices = np.repeat(vertices, 2, axis=0)
  for start, end in zip(vertices[:-1], vertices[1:], strict=True):
    low, high = np.minimum(start, end), np.maximum(start, end)
    x0, y0 = np.clip(np.floor(low - radius), 0, size[::-1]).astype(int)
    x1, y1 = np.clip(np.ceil(high + radius), 0, size[::-1]).astype(int)
    y, x = _centres(size)
    dy, dx = y[y0:y1] - start[1], x[:, x0:x1] - start[0]
    step = end - start
    along = (dx * step[0] + dy * step[1]) / max(step @ step, 1e-12)
    along = np.clip(along, 0, 1)
    distance2 = (dx - along * step[0]) ** 2 + (dy - along * step[1]) ** 2
    inside[y0:y1, x0:x1] |= distance2 <= radius**2
  return inside


def fill_polygon(vertices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Returns the pixels inside a polygon by the even-odd rule, bool [H, W].

  Each edge flips, in every row whose centre line it crosses, all pixels to the
  left of the crossing. The cost therefore grows with the outline, not with the
  area.
  """
  inside = np.zeros(size, bool)
  if not len(vertices):
    return inside
  # Outside of this box, each pixel is flipped by an even number of edges.
  ends = np.array([vertices.min(0), vertices.max(0)])
  (left, top), (right, bottom) = _clip(np.ceil(ends - 0.5), 0, size[::-1])
  # In column c, `flips` counts the edges that flip the pixels before c.
  flips = np.zeros((bottom - top, right - left + 1), np.uint8)
  # Each edge may cross all rows, so take few edges at once.
  number = max(1, _MAX_CROSSINGS // max(len(flips), 1))
  others = following(vertices)
  for start in range(0, len(vertices), number):
    part = slice(start, start + number)
    _, rows, columns = crossings(vertices[part], others[part], size)
    columns = _clip(columns, left, right) - left
    np.add.at(flips.reshape(-1), (rows - top) * flips.shape[1] + columns,
              np.uint8(1))  # Above 255, the remainder stays odd or even.
  odd = (flips[:, :0:-1] & 1).astype(bool)
  inside[top:bottom, left:right] = np.logical_xor.accumulate(
      odd, axis=1)[:, ::-1]
  return inside


def following(vertices: np.ndarray) -> np.ndarray:
  """Returns the vertex of a closed outline that follows each one, [N, 2]."""
  return np.concatenate([vertices[1:], vertices[:1]])


def crossings(
    a: np.ndarray, b: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the rows that edges cross, and the columns that they flip up to.

  Computing an edge from its upper end makes rounding the same whichever way it
  is gone. So the two ways to a hole cancel, and polygons that share an edge
  neither overlap nor leave a gap.

  Args:
    a: starts of the edges, [n, 2].
    b: ends of the edges, [n, 2].
    size: height and width of the label map.

  Returns:
    For each crossing of an edge and the centre line of a row: the number of the
    edge, the row, and the number of pixels of that row whose centres lie left
    of the edge, int [m] each.
  """
  height, width = size
  # A row is crossed if its centre lies above the lower end, but not above the
  # upper one. So a vertex on a centre line counts for one of its two edges.
  ends = _clip(np.ceil(np.array([a[:, 1], b[:, 1]]) - 0.5), 0, height)
  first, number = ends.min(0), np.abs(ends[1] - ends[0])
  edge = np.repeat(np.arange(len(number)), number)
  rows = np.arange(edge.size) + (first + number - np.cumsum(number))[edge]
  a, b = a[edge], b[edge]
  turned = (a[:, 1] > b[:, 1])[:, None]
  start = np.where(turned, b, a)
  step = np.where(turned, a, b) - start
  crossing = start[:, 0] + (rows + 0.5 - start[:, 1]) * step[:, 0] / step[:, 1]
  return edge, rows, _clip(np.ceil(crossing - 0.5), 0, width)


def _clip(values, low, high):
  """Returns whole numbers within [low, high], for few values a fast `clip`."""
  return np.minimum(np.maximum(values, low), high).astype(int)
