"""Checks one shape of an annotation: its form, position and outline."""

from typing import Any

import numpy as np

from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds

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
) -> None:
  """Checks one shape that is given by coordinates.

  Args:
    shape: the shape, as the manifest holds it.
    kind: kind of the annotation.
    size: height and width of the image; None if it could not be read.
    place: field of the row that holds the shape, for messages.
    log: `check_annotation.Log` of the row, to which the findings are added.
  """
  row = annotation_kinds.TABLE[kind]
  if not _is_shape(shape, kind):
    log.add(f'expected {row.form}', repr(shape), 'correct it', place)
  elif (problem := row.problem(shape)) is not None:
    log.add(*problem, place)
  elif size is not None and _is_outside(np.array(shape), kind, size):
    log.add(f'lies outside the image, {size[1]} wide and {size[0]} high',
            repr(shape), 'give pixels (x, y) of this image', place)
  elif kind == 'polygon':
    _check_polygon(np.array(shape, float), place, log)
  elif row.thickness and row.thickness(shape) < 1:
    log.note('shape thinner than a pixel', repr(shape),
             'it may cover no pixel at all', place)


def _check_polygon(vertices, place, log):
  """Reports a polygon that is very thin or whose outline crosses itself."""
  if np.ptp(vertices, axis=0).min() < 1:
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
  b = np.roll(a, -1, axis=0)
  levels = np.arange(_CROSSING_GRID) + 0.5
  upward = (a[:, 1:] <= levels) & (levels < b[:, 1:])  # [N, grid]
  downward = (b[:, 1:] <= levels) & (levels < a[:, 1:])
  edges, rows = np.nonzero(upward | downward)
  # Start from the upper end, so that ways that are gone twice cancel exactly.
  swap = downward[edges, rows][:, None]
  start = np.where(swap, b[edges], a[edges])
  step = np.where(swap, a[edges], b[edges]) - start
  crossing = start[:, 0] + (rows + 0.5 - start[:, 1]) * step[:, 0] / step[:, 1]
  # Each edge adds 1 or -1 to the winding number of all points in its rows that
  # lie left of it.
  turns = np.zeros((_CROSSING_GRID, _CROSSING_GRID + 1), np.int64)
  columns = np.clip(np.ceil(crossing - 0.5), 0, _CROSSING_GRID).astype(int)
  np.add.at(turns, (rows, columns), np.where(upward[edges, rows], 1, -1))
  winding = np.cumsum(turns[:, ::-1], axis=1)[:, ::-1][:, 1:]
  inside = int((winding != 0).sum())
  once = max(int((winding == 1).sum()), int((winding == -1).sum()))
  return 1 - once / inside if inside else 0.0


def _is_simple(vertices):
  """Returns whether each edge of a polygon touches only its two neighbours.

  A vertex that lies on another edge counts as touching, so that False does not
  prove a crossing.
  """
  number = len(vertices)
  step = np.roll(vertices, -1, axis=0) - vertices
  x, y = vertices.T
  # The side of edge i on which vertex j lies, [N, N].
  side = np.sign(step[:, :1] * (y - y[:, None])
                 - step[:, 1:] * (x - x[:, None]))
  parted = side * np.roll(side, -1, axis=1) <= 0
  touching = parted & parted.T
  index = np.arange(number)
  for shift in (-1, 0, 1):
    touching[index, (index + shift) % number] = False
  return not touching.any()


def _is_shape(shape, kind):
  """Returns whether a value of a manifest has the form of a kind's shapes."""
  is_numbers = lambda value, length: (
      isinstance(value, list)
      and len(value) == length
      and all(manifest_lib.is_number(v) for v in value)
  )
  row = annotation_kinds.TABLE[kind]
  if row.num_points is None:
    return is_numbers(shape, row.num_values)
  least, most = row.num_points
  return (isinstance(shape, list) and least <= len(shape) <= most
          and all(is_numbers(p, 2) for p in shape))


def _is_outside(shape, kind, size):
  """Returns whether a shape lies too far outside the image.

  Outlines that are drawn by hand often cross the image's edge, so they are too
  far outside only if they miss the image altogether. A box or a point that
  leaves the image by more than `TOLERANCE` must be in other units or belong to
  another image.
  """
  end = np.array([size[1], size[0]]) + TOLERANCE
  row = annotation_kinds.TABLE[kind]
  if not row.may_leave:
    corners = shape.reshape(-1, 2)
    return bool((corners < -TOLERANCE).any() or (corners > end).any())
  if row.num_points:
    low, high = shape.min(0), shape.max(0)
  else:
    reach = shape[2:4].max()
    low, high = shape[:2] - reach, shape[:2] + reach
  return bool((high < 0).any() or (low > end - TOLERANCE).any())
