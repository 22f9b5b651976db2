"""Computes shapes around and within one object of a label map.

No function changes the arrays that it receives, and random functions take a
generator. Coordinates are those of a manifest: the pixel in column j and row i
covers [j, j + 1) x [i, i + 1).
"""

from collections.abc import Sequence

from hybridseg import types
import numpy as np
from scipy import ndimage


def components(label: np.ndarray) -> list[tuple[int, np.ndarray]]:
  """Returns the class and mask of each 8-connected object of a label map."""
  found = []
  for value in np.unique(label):
    if value in (0, types.UNLABELLED):
      continue
    parts, count = ndimage.label(label == value, structure=np.ones((3, 3)))
    found += [(int(value), parts == i) for i in range(1, count + 1)]
  return found


def tight_box(mask: np.ndarray) -> list[float]:
  """Returns a mask's tightest box, [x0, y0, x1, y1] with exclusive ends."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return [float(columns[0]), float(rows[0]),
          float(columns[-1] + 1), float(rows[-1] + 1)]


def loose_box(mask: np.ndarray, *, margin: float) -> list[float]:
  """Returns the tight box, enlarged on each side by a share of its size."""
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
  """Returns a rough outline of an object, as seen from its deepest pixel.

  The deepest pixel is the one farthest from the boundary. `num_vertices` rays
  leave it in directions that are evenly spread from a random start. Each vertex
  lies where its ray leaves the object for the last time, at a distance that is
  multiplied by max(1 + jitter * N(0, 1), 0.3).
  """
  height, width = mask.shape
  depth = depth_inside(mask)
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
    # Take a ray that is one pixel wide; it always contains the centre itself.
    reach = along[across <= 0.71].max(initial=0.0) + 0.5
    reach *= max(1.0 + jitter * rng.standard_normal(), 0.3)
    vertices.append([
        float(np.clip(cx + 0.5 + reach * np.cos(angle), 0, width)),
        float(np.clip(cy + 0.5 + reach * np.sin(angle), 0, height))])
  return vertices


def fitted_ellipse(mask: np.ndarray, *, scale: float) -> list[float]:
  """Returns the ellipse with the second moments of the object.

  A filled ellipse has the variance r^2 / 4 along an axis of radius r, so the
  radii are scale * 2 * sqrt(eigenvalues of the covariance of x and y). The
  variance of each pixel's own area, 1 / 12, is added to that of x and of y.

  Args:
    mask: the object, bool [H, W], not empty.
    scale: factor of both radii; with 1, an object that is an ellipse keeps its
      area.

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
  # In exact arithmetic the smaller eigenvalue is at least 1 / 12; the maximum
  # guards against rounding.
  radii = 2 * scale * np.sqrt([mean + spread, max(mean - spread, 1 / 12)])
  return [float(v) for v in (cx, cy, *radii, angle_deg)]


def interior_points(
    mask: np.ndarray, rng: np.random.Generator, *, num_points: int
) -> list[list[float]]:
  """Draws pixel centres from the interior of an object, the deepest first.

  The first is the deepest pixel. The others are random pixels that are at least
  half as deep, or the deepest pixels if there are too few of these.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: random generator for all points but the first.
    num_points: how many to draw; if the object has fewer pixels, all of them.

  Returns:
    Points [[x, y], ...], all different.
  """
  depth = depth_inside(mask)[mask]
  order = np.argsort(-depth, kind='stable')
  pool = max(int((depth >= depth.max() / 2).sum()), num_points)
  more = rng.permutation(np.arange(1, min(pool, order.size)))[: num_points - 1]
  # `more` holds ranks by depth, so sorting it puts the deepest pixels first.
  return pixel_centres(mask, order[[0, *np.sort(more)]])


def extreme_points(
    mask: np.ndarray, rng: np.random.Generator, *, jitter: float
) -> list[list[float]]:
  """Returns the outermost pixel centre of an object on each of its four sides.

  These are the leftmost, the topmost, the rightmost and the lowest one. If
  several pixels qualify, a random one is taken. Each coordinate then moves
  by jitter * N(0, 1) times the width or height of the object, and stays within
  the image.

  Args:
    mask: the object, bool [H, W], not empty.
    rng: random generator for the choice of pixels and for the jitter.
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


def low_resolution(
    label: np.ndarray, *, block: int | Sequence[int]
) -> np.ndarray:
  """Replaces the classes in each block of pixels by the most frequent one.

  Unlabelled pixels do not vote; a block that holds only such pixels stays
  unlabelled. Among equally frequent classes the lowest wins. Blocks start in
  the first corner, and the last ones may be cut off. A block of 1 changes
  nothing.

  Args:
    label: classes, uint8 [H, W] or [X, Y, Z].
    block: size of a block along all axes, or along each axis, in pixels.

  Returns:
    Classes, uint8 of the same shape.
  """
  block = [block] * label.ndim if isinstance(block, int) else block
  padded = np.pad(
      label, [(0, -n % b) for n, b in zip(label.shape, block, strict=True)],
      constant_values=types.UNLABELLED)
  blocks = padded.reshape([
      part for n, b in zip(padded.shape, block, strict=True)
      for part in (n // b, b)])
  most = np.zeros(blocks.shape[::2], np.int64)
  winner = np.full(most.shape, types.UNLABELLED, np.uint8)
  for value in np.unique(label[label != types.UNLABELLED]):
    votes = (blocks == value).sum(tuple(range(1, blocks.ndim, 2)))
    winner[votes > most] = value
    most = np.maximum(most, votes)
  for axis, b in enumerate(block):
    winner = winner.repeat(b, axis)
  return winner[tuple(map(slice, label.shape))]


def quality(label: np.ndarray, truth: np.ndarray, num_classes: int) -> float:
  """Returns the mean IoU over the foreground classes found in either map.

  Args:
    label: class per pixel, uint8 [H, W]; unlabelled pixels do not count.
    truth: the exact classes, uint8 [H, W].
    num_classes: number of classes, background included.

  Returns:
    Mean IoU in [0, 1]: 1.0 if both maps are empty, 0.0 if only one is.
  """
  known = (label != types.UNLABELLED) & (truth != types.UNLABELLED)
  scores = []
  for value in range(1, num_classes):
    a, b = (label == value) & known, (truth == value) & known
    if a.any() or b.any():
      scores.append((a & b).sum() / (a | b).sum())
  return float(np.mean(scores)) if scores else 1.0


def depth_inside(mask):
  """Returns each pixel's distance to the nearest pixel outside of a mask.

  All pixels beyond the border of the image count as outside.
  """
  return ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]


def pixel_centres(mask, index):
  """Returns the centres [[x, y], ...] of some of the pixels inside a mask.

  Args:
    mask: bool [H, W].
    index: numbers of these pixels, where all pixels inside the mask are
      numbered row by row.
  """
  return (np.argwhere(mask)[index][:, ::-1] + 0.5).tolist()
