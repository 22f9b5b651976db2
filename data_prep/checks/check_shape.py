"""Checks one shape of an annotation: its form, position and outline."""

from typing import Any

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.drawing import covering
from data_prep.drawing import shape_numbers

# Annotation tools round coordinates, so corners may lie up to this many pixels
# outside the image.
TOLERANCE = 1.0
CROSSED = 0.1  # Largest share of a polygon's area that may be ambiguous.
_CROSSING_GRID = 128  # Points along either side of a polygon's bounding box.
# In polygons with more corners than this, comparing all pairs of edges would be
# slow.
_MAX_PAIRED = 200


def check_shape(
    shape: Any, kind: str, size: tuple[int, int] | None, place: str, log: Any
) -> np.ndarray | None:
  """Checks one shape that is given by coordinates.

  Args:
    shape: the shape, as the manifest holds it.
    kind: kind of the annotation.
    size: height and width of the image; None if it could not be read.
    place: field of the row that holds the shape, for messages.
    log: `check_annotation.Log` of the row, to which the findings are added.

  Returns:
    The numbers of the shape, float [n] or, for points, [n, 2]; None if it does
    not have the form of its kind.
  """
  row = annotation_kinds.TABLE[kind]
  numbers = _numbers(shape, row)
  if numbers is None:
    log.add(f'expected {row.form}', repr(shape), 'correct it', place)
  elif (problem := row.problem(shape)) is not None:
    log.add(*problem, place)
  elif size is not None and _is_outside(numbers, row, size):
    log.add(f'lies outside the image, {size[1]} wide and {size[0]} high',
            repr(shape), 'give pixels (x, y) of this image', place)
  elif kind == 'polygon':
    _check_polygon(numbers, place, log)
  elif row.thickness and row.thickness(shape) < 1:
    log.note('shape thinner than a pixel', repr(shape),
             'it may cover no pixel at all', place)
  return numbers


def _check_polygon(vertices, place, log):
  """Reports a polygon that is very thin or whose outline crosses itself."""
  if (vertices.max(0) - vertices.min(0)).min() < 1:
    log.note('shape thinner than a pixel', repr(vertices.tolist()),
             'it may cover no pixel at all', place)
    return
  share = crossed_share(vertices)
  found = f'{max(100 * share, 0.1):.1f} % of its area'
  if share > CROSSED:
    log.add('outline crosses itself, its inside is ambiguous', found,
            'give the corners in the order in which they are connected', place)
  elif share:
    log.note('outline crosses itself in small loops', found,
             'filled by the even-odd rule', place)


def crossed_share(vertices: np.ndarray) -> float:
  """Returns the share of a polygon's area that is not encircled exactly once.

  The area is that of all points with a winding number other than 0. A simple
  polygon has winding number 1 (or -1) everywhere inside, so the share is
  exactly 0. A bow tie, whose halves are encircled in opposite directions, has
  0.5, and an outline that goes round twice has 1. The share is measured on a
  grid of `_CROSSING_GRID` x `_CROSSING_GRID` points over the bounding box.

  Args:
    vertices: corners (x, y), float [N, 2], of non-zero width and height.
  """
  if len(vertices) <= _MAX_PAIRED and _is_simple(vertices):
    return 0.0
  low, high = vertices.min(0), vertices.max(0)
  a = (vertices - low) / (high - low) * _CROSSING_GRID
  b = covering.following(a)
  edges, rows, columns = covering.crossings(a, b, (_CROSSING_GRID,) * 2)
  # Each edge adds 1 or -1 to the winding number of all points in its rows that
  # lie left of it.
  turns = np.zeros((_CROSSING_GRID, _CROSSING_GRID + 1), np.int32)
  np.add.at(turns.reshape(-1), rows * turns.shape[1] + columns,
            np.where(a[:, 1] < b[:, 1], np.int32(1), np.int32(-1))[edges])
  winding = np.cumsum(turns[:, :0:-1], axis=1, dtype=np.int32)
  inside = np.count_nonzero(winding)
  once = max(np.count_nonzero(winding == 1), np.count_nonzero(winding == -1))
  return 1 - once / inside if inside else 0.0


def _is_simple(vertices):
  """Returns whether each edge of a polygon touches only its two neighbours.

  A vertex that lies on another edge counts as touching, so that False does not
  prove a crossing. Only edges whose bounding boxes meet are compared.
  """
  following = covering.following(vertices)
  low, high = np.minimum(vertices, following), np.maximum(vertices, following)
  # Sorted by their left ends, an edge may meet those that begin before its
  # right end.
  order = np.argsort(low[:, 0])
  left = low[order, 0]
  number = np.searchsorted(left, high[order, 0], 'right') - np.arange(
      1, len(left) + 1)
  first = np.repeat(np.arange(len(left)), number)
  second = np.arange(1, first.size + 1) + (
      np.arange(len(left)) + number - np.cumsum(number))[first]
  i, j = order[first], order[second]
  meet = (low[i, 1] <= high[j, 1]) & (low[j, 1] <= high[i, 1])
  i, j = i[meet], j[meet]
  apart = (np.abs(i - j) > 1) & (np.abs(i - j) < len(left) - 1)
  i, j = i[apart], j[apart]
  return not (_parts(vertices, following, i, j)
              & _parts(vertices, following, j, i)).any()


def _parts(starts, ends, i, j):
  """Returns whether edge j does not lie on one side of edge i, bool [n]."""
  start, step = starts[i], ends[i] - starts[i]
  sides = [np.sign(step[:, 0] * (end[j, 1] - start[:, 1])
                   - step[:, 1] * (end[j, 0] - start[:, 0]))
           for end in (starts, ends)]
  return sides[0] * sides[1] <= 0


def _numbers(shape, row):
  """Returns the numbers of a shape, float [n] or [n, 2].

  The result is None if the shape does not have the form of its kind.
  """
  if not isinstance(shape, list):
    return None
  if row.num_points is None:
    return np.array(shape, float) if len(shape) == row.num_values and all(
        map(manifest_lib.is_number, shape)) else None
  least, most = row.num_points
  if not least <= len(shape) <= most:
    return None
  if {*map(type, shape)} == {list} and (
      points := shape_numbers.plain_points(shape)) is not None:
    return points
  if all(isinstance(p, list) and len(p) == 2
         and all(map(manifest_lib.is_number, p)) for p in shape):
    return np.array(shape, float).reshape(-1, 2)
  return None


def _is_outside(shape, row, size):
  """Returns whether a shape lies too far outside the image.

  Outlines that are drawn by hand often cross the image's edge, so they are too
  far outside only if they miss the image altogether. A box or a point that
  leaves the image by more than `TOLERANCE` must be in other units or belong to
  another image.
  """
  end = np.array([size[1], size[0]]) + TOLERANCE
  if not row.may_leave:
    corners = shape.reshape(-1, 2)
    return bool((corners < -TOLERANCE).any() or (corners > end).any())
  if row.num_points:
    low, high = shape.min(0), shape.max(0)
  else:
    reach = shape[2:4].max()
    low, high = shape[:2] - reach, shape[:2] + reach
  return bool((high < 0).any() or (low > end - TOLERANCE).any())
