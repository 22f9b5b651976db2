"""Guards the cells of CSV files that people open in a spreadsheet.

A spreadsheet runs a cell as a formula if it begins with = + - @, a tab or a
line break. Ids, subjects and class names may come from anybody. A text that
begins so and is not a number is therefore written with an apostrophe in front:
a spreadsheet then shows it as text, and our readers remove the apostrophe
again.
"""

from collections.abc import Iterable, Mapping
import re
from typing import Any

# Our readers would mistake a text that has such an apostrophe of its own for a
# guarded text, so it gets a second apostrophe.
_RISKY = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")
_NUMBER = re.compile(r'[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?')


def guard(value: Any) -> Any:
  """Returns a cell to write: '=1+1' becomes "'=1+1", while -1 stays a number.

  Args:
    value: text, which gets an apostrophe if necessary, or any other value,
      which is returned unchanged.
  """
  if isinstance(value, str) and _RISKY.match(value) and not _NUMBER.fullmatch(
      value):
    return f"'{value}"
  return value


def undo(value: Any) -> Any:
  """Undoes `guard`: returns the original value of a cell that was read."""
  if isinstance(value, str) and _GUARDED.match(value):
    return value[1:]
  return value


def guard_all(values: Iterable[Any]) -> list[Any]:
  """Returns a line to write, with all its cells guarded."""
  return [guard(v) for v in values]


def undo_all(values: Iterable[Any]) -> list[Any]:
  """Returns a line that was read, with the guards of its cells removed."""
  return [undo(v) for v in values]


def guard_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a line to write, a dict by column, with all its cells guarded."""
  return {k: guard(v) for k, v in row.items()}


def undo_row(row: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a line that was read, a dict by column, without the guards."""
  return {undo(k): undo(v) for k, v in row.items()}
