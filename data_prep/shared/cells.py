"""Cells of CSV files that people open in a spreadsheet.

A spreadsheet runs a cell that begins with = + - @, a tab or a line break. Ids,
subjects and class names come from anybody: what begins so, and is no number, is
written behind an apostrophe, which a spreadsheet shows as text, and which our
readers take away again.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any

# With an apostrophe in front, it would be mistaken for a guarded one.
_RISKY = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")
_NUMBER = re.compile(r'[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def guard(value: Any) -> Any:
  """Returns a cell to write: '=1+1' becomes "'=1+1", and -1 stays a number.

  Args:
    value: text, or anything else, which is returned as it is.
  """
  if isinstance(value, str) and _RISKY.match(value) and not _NUMBER.fullmatch(
      value):
    return f"'{value}"
  return value


def undo(value: Any) -> Any:
  """Returns what `guard` was given, of a cell that was read."""
  if isinstance(value, str) and _GUARDED.match(value):
    return value[1:]
  return value


def guard_all(values: Iterable[Any]) -> list[Any]:
  """Returns a line to write."""
  return [guard(v) for v in values]


def undo_all(values: Iterable[Any]) -> list[Any]:
  """Returns a line that was read, as it was meant."""
  return [undo(v) for v in values]


def guard_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a line to write, by column."""
  return {k: guard(v) for k, v in row.items()}


def undo_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a line that was read, by column, as it was meant."""
  return {undo(k): undo(v) for k, v in row.items()}
