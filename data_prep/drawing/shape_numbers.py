"""Checks the numbers that describe a shape, and computes its thickness and box.

Each function takes a shape as the manifest holds it, in the form that the
shape's kind has in the table `annotation_kinds`.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from data_prep import manifest


class Problem(NamedTuple):
  """The reason why the numbers of a shape cannot be right.

  Attributes:
    what: description of what is wrong.
    found: the wrong numbers.
    fix: advice to the user.
  """

  what: str
  found: str
  fix: str


def no_problem(shape: Any) -> Problem | None:
  """Returns None, for shapes whose numbers need no check."""
  del shape


def polygon_problem(shape: Any) -> Problem | None:
  """Returns a problem if a polygon has fewer than three points."""
  if len(shape) < 3:
    return Problem('a polygon needs 3 points', str(len(shape)), 'redraw it')
  return None


def box_problem(shape: Any) -> Problem | None:
  """Returns a problem if the width or the height of a box is not positive."""
  if shape[2] <= shape[0] or shape[3] <= shape[1]:
    return Problem('expected [x0, y0, x1, y1] with x1 > x0 and y1 > y0',
                   repr(shape), 'swap the corners or remove the box')
  return None


def ellipse_problem(shape: Any) -> Problem | None:
  """Returns a problem if a radius of an ellipse is not positive."""
  if min(shape[2:4]) <= 0:
    return Problem('expected radii above 0', repr(shape[2:4]), 'correct it')
  return None


def box_thickness(shape: Any) -> float:
  """Returns the shorter side of a box, in pixels."""
  return min(shape[2] - shape[0], shape[3] - shape[1])


def ellipse_thickness(shape: Any) -> float:
  """Returns the shorter diameter of an ellipse, in pixels."""
  return 2 * min(shape[2:4])


def around_points(shape: Any) -> list[float]:
  """Returns the box [x0, y0, x1, y1] around a shape's points or corners."""
  points = np.array(shape, float).reshape(-1, 2)
  return [*points.min(0).tolist(), *points.max(0).tolist()]


def around_ellipse(shape: Any) -> list[float]:
  """Returns the box [x0, y0, x1, y1] around an ellipse."""
  cx, cy, rx, ry, angle = shape
  cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
  dx, dy = np.hypot(rx * cos, ry * sin), np.hypot(rx * sin, ry * cos)
  return [float(v) for v in (cx - dx, cy - dy, cx + dx, cy + dy)]


def plain_points(values: list[Any]) -> np.ndarray | None:
  """Returns points as float [n, 2]; None if any of them needs a closer look.

  Many points are checked much faster than one by one. They are plain if each
  is a list or a tuple of two numbers of less than 1e9 in magnitude.
  """
  if not {*map(type, values)} <= {list, tuple} or {*map(len, values)} != {2}:
    return None
  numbers = [*itertools.chain.from_iterable(values)]
  if not {*map(type, numbers)} <= {int, float}:
    return None
  try:
    points = np.array(numbers, float).reshape(-1, 2)
  except OverflowError:
    return None
  return points if (np.abs(points) < manifest.LIMIT).all() else None
