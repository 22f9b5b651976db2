"""Makes label maps for tests of shapes, strokes and noise."""

from hybridseg import types
import numpy as np


def disc(size, cy, cx, radius, value=1):
  """Returns a disc of one class."""
  y, x = np.mgrid[:size, :size] + 0.5
  return np.where((y - cy) ** 2 + (x - cx) ** 2 <= radius**2, value, 0).astype(
      np.uint8)


def scenes(count):
  """Returns label maps, each with one or two discs of different classes."""
  rng = np.random.default_rng(7)
  drawn = []
  for _ in range(count):
    cy, cx = rng.uniform(14, 30, 2)
    truth = disc(64, cy, cx, rng.uniform(5, 10))
    if rng.uniform() < 0.5:
      truth = np.maximum(truth, disc(64, cy + 22, cx + 22, 6, value=2))
    drawn.append(truth)
  return drawn


def random_maps(count, size=32):
  """Returns irregular label maps of classes 0 to 3 and unlabelled pixels."""
  rng = np.random.default_rng(11)
  y, x = np.mgrid[:size, :size]
  maps = []
  for i in range(count):
    label = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 6)):
      (cy, cx), (ry, rx) = rng.uniform(0, size, 2), rng.uniform(0.6, 9, 2)
      inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
      label[inside] = rng.integers(1, 4)
    if i % 10 == 1:
      label[:] = 0
    elif i % 10 == 2:
      label[:] = 1 + i % 3
    elif i % 10 == 3:
      label[:] = 0
      label[tuple(rng.integers(0, size, 2))] = 2
    elif i % 10 == 4:
      label[rng.uniform(size=label.shape) < 0.1] = types.UNLABELLED
    elif i % 10 == 5:
      label[0], label[:, -1] = 1, 2
    elif i % 10 == 6:
      label = (np.eye(size, dtype=np.uint8) * 3)[::-1]
    maps.append(label)
  return maps


def on_line(stroke):
  """Returns the (row, column) of all pixels that a polyline passes through."""
  points = [np.array(stroke[:1])]
  for a, b in zip(stroke[:-1], stroke[1:], strict=True):
    steps = int(np.ceil(4 * np.hypot(b[0] - a[0], b[1] - a[1]))) + 1
    points.append(np.linspace(a, b, steps))
  # If a diagonal passes through the corner of pixels, take the pixel before the
  # corner.
  x, y = (np.concatenate(points) - 1e-9).T
  return y.astype(int), x.astype(int)
