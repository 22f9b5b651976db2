"""Counts how often values occur in label maps, which have few of them."""

from collections.abc import Sequence

import numpy as np

# Up to this number of values, comparing is faster than np.bincount.
_FEW_VALUES = 16


def count_values(array: np.ndarray, values: Sequence[int]) -> np.ndarray:
  """Returns how many elements of an array have each of some values, int64.

  Args:
    array: whole numbers of any shape.
    values: whole numbers from 0 to 2**16 - 1.
  """
  if len(values) <= _FEW_VALUES:
    return np.array([np.count_nonzero(array == v) for v in values], np.int64)
  inside = array[(array >= 0) & (array < 2**16)]
  return np.bincount(inside.ravel(), minlength=2**16)[values]


def count_stored(
    mask: np.ndarray, likely: Sequence[int]
) -> tuple[list[int], np.ndarray]:
  """Returns the stored values of a mask, ascending, and their frequencies.

  Args:
    mask: the stored values, int [H, W].
    likely: values that the mask probably holds, and no others.
  """
  values = sorted({v for v in likely if 0 <= v < 2**16})
  counts = count_values(mask, values)
  if counts.sum() == mask.size:
    return [values[i] for i in np.flatnonzero(counts)], counts[counts > 0]
  if 0 <= mask.min() and mask.max() < 2**16:
    counts = np.bincount(mask.ravel())  # This is much faster than sorting.
    values = np.flatnonzero(counts)
    return values.tolist(), counts[values]
  values, counts = np.unique(mask, return_counts=True)
  return values.tolist(), counts
