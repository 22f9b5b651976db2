"""Checks the entries of foreign files: numbers, points, names, run lengths.

The functions that check an entry raise a ValueError of one line.
"""

import math
from typing import Any

import numpy as np

from data_prep.drawing import rle
from data_prep.shared import pixels

_MAX_LABEL = 200
_LIMIT = 1e9
_MANY = 12  # From so many points on, NumPy is faster than a loop.


def number(value: Any) -> float:
  """Converts a value from JSON or text to a finite number below 1e9.

  Raises:
    ValueError: if the value is not such a number.
  """
  if isinstance(value, bool) or not isinstance(value, (int, float, str)):
    raise ValueError(f'{value!r:.40} is not a number')
  if isinstance(value, str) and len(value) > 60:
    raise ValueError(f'{value!r:.40} is not a number')
  result = float(value)
  if not math.isfinite(result) or abs(result) >= _LIMIT:
    raise ValueError(f'{value!r:.40} is not a finite number below 1e9')
  return int(result) if result == int(result) else result


def points(values: Any) -> list[list[float]]:
  """Returns points [[x, y], ...]; raises ValueError if they are malformed."""
  if not isinstance(values, list):
    raise ValueError('expected a list of [x, y]')
  if len(values) >= _MANY and (found := _plain_points(values)) is not None:
    return found
  result = []
  for value in values:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
      raise ValueError('expected a list of [x, y]')
    result.append([number(value[0]), number(value[1])])
  return result


def _plain_points(values):
  """Returns points as `points` does, but faster; None if some are unusual."""
  try:
    array = np.array(values)
  except (ValueError, OverflowError):
    return None
  if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in 'if' or (
      not (np.abs(array) < _LIMIT).all()):
    return None
  result = array.tolist()
  if array.dtype.kind == 'f':
    for i, j in np.argwhere(array == np.floor(array)).tolist():
      result[i][j] = int(result[i][j])
  return result


def outline(values: list[Any]) -> list[list[float]]:
  """Returns the points [[x, y], ...] of an outline given as x, y, x, y, ...

  Raises:
    ValueError: if the values are malformed, or fewer than 3 points.
  """
  if not isinstance(values, list) or len(values) % 2 or len(values) < 6:
    raise ValueError('a polygon needs x and y of at least 3 points')
  return points([*zip(values[::2], values[1::2], strict=True)])


def text(value: Any) -> str:
  """Returns a name from a file; raises ValueError if it cannot be a name."""
  if not isinstance(value, (str, int)) or isinstance(value, bool):
    raise ValueError(f'{value!r:.40} is not a name')
  value = str(value).strip()
  if not value or len(value) > _MAX_LABEL or pixels.is_bad_text(value):
    raise ValueError(f'{value!r:.40} is not a name')
  return value


def checked_rle(value: Any, size: tuple[int, int] | None) -> dict[str, Any]:
  """Checks that run lengths are valid and fit the picture; returns them.

  Their size is not compared with the picture if its `size` is None.

  Raises:
    ValueError: if they are invalid or do not fit; the message is one line.
  """
  mask = rle.decode_rle(value)
  if size is not None and mask.shape != tuple(size):
    raise ValueError(
        f'run lengths of {mask.shape[0]} x {mask.shape[1]} on a picture of '
        f'{size[0]} x {size[1]}')
  return {'size': list(mask.shape), 'counts': value['counts']}


def listed_size(height: Any, width: Any) -> tuple[int, int] | None:
  """Returns the height and width that a file lists for a picture, as integers.

  The result is None if one of them is not above 0, which means unknown.

  Raises:
    ValueError: if one of them is not a number.
  """
  size = int(number(height)), int(number(width))
  return size if min(size) > 0 else None


def cause_of(error: Exception) -> str:
  """Returns the reason why an entry of a file cannot be read, for a message."""
  if isinstance(error, KeyError):
    return f'no {error}'
  return ('a field is of a wrong type' if isinstance(error, TypeError)
          else str(error))
