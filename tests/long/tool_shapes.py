"""Draws the random shapes that `tool_cases` passes to annotation tools."""

import importlib

import numpy as np


def polygon(rng, size):
  """Returns a polygon, some of whose corners lie on the picture's border."""
  number = int(rng.integers(3, 10))
  centre = rng.uniform(0.2, 0.8, 2) * size[::-1]
  radii = rng.uniform(0.2, 1, number) * 0.45 * min(size)
  # Gaps below half a turn, so that the outline does not cross itself.
  turns = (np.arange(number) + rng.uniform(0, 0.9, number)) * (
      2 * np.pi / number)
  points = centre + radii[:, None] * np.stack(
      [np.cos(turns), np.sin(turns)], axis=1)
  return np.round(points.clip(0, size[::-1]), 3).tolist()


def pixel(rng, size):
  """Returns the box of one pixel."""
  y, x = (int(rng.integers(n)) for n in size)
  return [x, y, x + 1, y + 1]


def box(rng, size):
  """Returns a box between pixels, or that of one pixel."""
  if rng.random() < 0.3 or min(size) < 4:
    return pixel(rng, size)
  (x0, x1), (y0, y1) = (np.sort(rng.uniform(0, n, 2)) for n in size[::-1])
  return [float(v) for v in np.round((x0, y0, x1 + 0.6, y1 + 0.6), 3).clip(
      0, [*size[::-1]] * 2)]


def mask(rng, size):
  """Returns a ring, noise, one pixel, a border, or everything."""
  y, x = np.mgrid[: size[0], : size[1]]
  edge = np.pad(np.zeros(size, bool), 1, constant_values=True)
  pixel = np.zeros(size, bool)
  pixel[rng.integers(size[0]), rng.integers(size[1])] = True
  return [ring(rng, size), rng.random(size) < 0.4, pixel, edge[1:-1, 1:-1] | (
              (y == 0) | (x == size[1] - 1)), np.ones(size, bool)
          ][rng.integers(5)]


def ring(rng, size):
  """Returns a disc with a hole around a random place."""
  y, x = np.mgrid[: size[0], : size[1]]
  distance = np.hypot(*(v - rng.uniform(0, n) for v, n in zip(
      (y, x), size, strict=True)))
  radius = max(size) * rng.uniform(0.1, 0.6)
  return (distance < radius) & (distance > radius / 2)


def inside(geometry, size):
  """Returns the pixels whose centres shapely finds inside a geometry."""
  shapely = importlib.import_module('shapely')
  y, x = np.mgrid[: size[0], : size[1]] + 0.5
  return shapely.contains_xy(geometry, x, y)


def drawn(parts, size):
  """Returns the label map of pairs (class, mask), later ones on top."""
  label = np.zeros(size, int)
  for value, mask in parts:
    label[mask] = value
  return label


def ellipse(rng, size):
  """Returns an ellipse, (cx, cy, rx, ry, angle_deg), and its geometry."""
  shapely = importlib.import_module('shapely')
  affinity = importlib.import_module('shapely.affinity')
  cx, cy = rng.uniform(0.4, 0.6, 2) * size[::-1]
  rx, ry = rng.uniform(0.4, 0.3 * min(size) + 0.5, 2)
  turn = float(rng.uniform(-180, 180))
  geometry = affinity.scale(
      shapely.Point(0, 0).buffer(1, quad_segs=20_000), rx, ry)
  geometry = affinity.rotate(geometry, turn, origin=(0, 0))
  return (float(cx), float(cy), float(rx), float(ry), turn), (
      affinity.translate(geometry, cx, cy))
