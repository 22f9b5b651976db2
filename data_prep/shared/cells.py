"""Guards the cells of CSV files that people open in a spreadsheet.

A spreadsheet runs a cell as a formula if it begins with = + - @, a tab or a
line break. Ids, subjects and class names may come from anybody. A string that
begins with such a character and is not a number is therefore written with an
apostrophe in front. A spreadsheet then shows it as text, and our readers remove
the apostrophe again.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any

# A string that already begins with an apostrophe and such a character gets a
# second apostrophe. Otherwise, our readers would remove its own apostrophe.
_RISKY = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")
_NUMBER = re.compile(r'[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def guard(value: Any) -> Any:
  """Guards a cell before it is written: '=1+1' becomes "'=1+1", -1 stays -1.

  Args:
    value: a string, which gets an apostrophe if necessary, or any other value,
      which is returned unchanged.
  """
  if isinstance(value, str) and _RISKY.match(value) and not _NUMBER.fullmatch(
      value):
    return f"'{value}"
  return value


def undo(value: Any) -> Any:
  """Undoes `guard`: returns the original value of a cell read from a table."""
  if isinstance(value, str) and _GUARDED.match(value):
    return value[1:]
  return value


def guard_all(values: Iterable[Any]) -> list[Any]:
  """Guards all cells of a line before the line is written to a table."""
  return [guard(v) for v in values]


def undo_all(values: Iterable[Any]) -> list[Any]:
  """Removes the guards from all cells of a line read from a table."""
  return [undo(v) for v in values]


def guard_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Guards the cells of a line, a dict by column name, before it is written."""
  return {k: guard(v) for k, v in row.items()}


def undo_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Removes the guards from the cells and the column names of a line."""
  return {undo(k): undo(v) for k, v in row.items()}
