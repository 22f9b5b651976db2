"""Checks the entries of foreign files: numbers, points, names, run lengths.

The functions that check an entry raise a ValueError of one line.
"""

import math
from typing import Any

import numpy as np

from data_prep import manifest
from data_prep.drawing import rle
from data_prep.drawing import shape_numbers
from data_prep.shared import pixels

_MAX_LABEL = 200
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
  try:
    result = float(value)
  except OverflowError:  # An integer of more than 308 digits.
    result = math.inf
  if not math.isfinite(result) or abs(result) >= manifest.LIMIT:
    raise ValueError(f'{value!r:.40} is not a finite number below 1e9')
  return int(result) if result == int(result) else result


def points(values: Any) -> list[list[float]]:
  """Returns points [[x, y], ...]; raises ValueError if they are malformed."""
  if not isinstance(values, list):
    raise ValueError('expected a list of [x, y]')
  if len(values) >= _MANY and (
      array := shape_numbers.plain_points(values)) is not None:
    return _without_zeros(array)
  result = []
  for value in values:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
      raise ValueError('expected a list of [x, y]')
    result.append([number(value[0]), number(value[1])])
  return result


def _without_zeros(array):
  """Returns points as lists, in which whole numbers are integers."""
  is_whole = array == np.rint(array)
  if is_whole.all():
    return array.astype(np.int64).tolist()
  result = array.tolist()
  for i, j in np.argwhere(is_whole).tolist():
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
