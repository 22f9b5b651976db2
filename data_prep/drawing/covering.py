"""Which pixels a shape covers: one function for each form of shape.

One pixel convention everywhere: the pixel in column j and row i covers
[j, j + 1) x [i, i + 1), its centre is (j + 0.5, i + 0.5), and it belongs to a
shape if its centre does. A box with whole numbers therefore holds exactly
columns x0 .. x1 - 1. The functions of `annotation_kinds` take

  shape: as the manifest has it, float64 [...], in pixels of the image;
  scale: of the label map to the image along x and y, float [2];
  size: height and width of the label map;
  width: in pixels of the image, of a kind that has one

and return bool [H, W].
"""

import numpy as np

POINT_RADIUS = 2.0  # Pixels of the label map that is drawn.
_LEAST_RADIUS = 0.71  # Half a diagonal: no thin line falls between the centres.


def box(shape, scale, size):
  """Covers [x0, y0, x1, y1]."""
  return rectangle(shape * np.tile(scale, 2), size)


def polygon(shape, scale, size):
  """Covers the inside of an outline, float [N, 2]."""
  return fill_polygon(shape * scale, size)


def point(shape, scale, size):
  """Covers `POINT_RADIUS` around [x, y]."""
  return _disc(shape * scale, size)


def points(shape, scale, size):
  """Covers `POINT_RADIUS` around each of float [N, 2]."""
  return np.any([_disc(p, size) for p in shape * scale], axis=0)


def between(shape, scale, size):
  """Covers the box around points, float [N, 2], and the pixels under them."""
  corners = [*(shape.min(0) * scale - 0.5), *(shape.max(0) * scale + 0.5)]
  return rectangle(corners, size)


def stroke(shape, scale, size, width):
  """Covers half the width of a polyline, float [N, 2], to either side."""
  radius = max(width / 2 * scale.min(), _LEAST_RADIUS)
  return _stroke(shape * scale, radius, size)


def ellipse(shape, scale, size):
  """Covers [cx, cy, rx, ry, angle_deg], which turns x towards y."""
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
  """Covers [x0, y0, x1, y1] of the label map, bool [H, W]."""
  y, x = _centres(size)
  x0, y0, x1, y1 = corners
  return (x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)


def _disc(centre, size):
  y, x = _centres(size)
  return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= POINT_RADIUS**2


def _stroke(vertices, radius, size):
  """Covers the pixels whose centre lies within `radius` of a polyline."""
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
  """Fills a polygon by the even-odd rule, bool [H, W].

  Each edge flips, in the rows whose centre line it crosses, all pixels left of
  the crossing; so the cost is that of the outline, not of the area.
  """
  height, width = size
  flips = np.zeros((height, width + 1), np.int64)
  for (xa, ya), (xb, yb) in zip(
      vertices, np.roll(vertices, -1, axis=0), strict=True):
    low, high = min(ya, yb), max(ya, yb)
    # Rows with low <= centre < high: no vertex counts twice.
    first = int(np.clip(np.ceil(low - 0.5), 0, height))
    last = int(np.clip(np.ceil(high - 0.5), 0, height))
    rows = np.arange(first, last)
    if rows.size:
      crossing = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
      flips[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)] += 1
  # Column c of `flips` counts the edges that flip columns 0 .. c - 1.
  counts = np.cumsum(flips[:, ::-1], axis=1)[:, ::-1]
  return counts[:, 1:] % 2 == 1
