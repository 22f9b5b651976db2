"""Reads the records of a split, and their columns."""

import collections
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from experiments import binary


class Checked(Sequence):
  """The records of a split; reading a damaged record raises a UserError."""

  def __init__(
      self, open_fn: Callable[..., Sequence[Any]], split: str, data_dir: str):
    self._split, self._data_dir = split, data_dir
    self._columns = None
    self._source = self._try(lambda: open_fn(split=split))

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    # Iteration over a Sequence stops at an IndexError, which `_try` would turn
    # into another error.
    if not -len(self) <= index < len(self):
      raise IndexError(index)
    return self._try(lambda: self._source[index])

  def column(self, name: str) -> list[Any]:
    """Returns a feature that is one value in each record.

    The first call reads all records, and keeps all such features.
    """
    if self._columns is None:
      columns = collections.defaultdict(list)
      for record in self:
        for key, value in record.items():
          if not np.ndim(value):
            columns[key].append(value)
      self._columns = dict(columns)
    return self._columns[name]

  def _try(self, read_fn):
    try:
      return read_fn()
    except Exception as e:  # The libraries that decode may raise any error.
      reason = (str(e).strip().splitlines() or [type(e).__name__])[0][:60]
      raise binary.UserError(
          f'Records of {self._split} in {self._data_dir} are damaged '
          f'({reason}): prepare the set again, with --overwrite.') from e
