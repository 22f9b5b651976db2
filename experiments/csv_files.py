"""Reads and writes CSV tables; a malformed table raises a one-line error."""

from collections.abc import Mapping, Sequence
import csv
import os
from typing import Any

from data_prep.shared import cells
from data_prep.shared import grammar
from data_prep.shared import whole_file
import numpy as np

from experiments import binary

MOST_ROWS = 100_000  # A table for people has no more rows.


def read_csv(
    path: str, *, required: Sequence[str]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
  """Reads a table with a header line.

  Args:
    path: comma-separated file in UTF-8, with or without a byte order mark,
      which Excel writes. Empty lines are skipped.
    required: names of the columns that the table must have.

  Returns:
    The header; and for each row its location (file and line, for messages) and
    its cells.

  Raises:
    binary.UserError: if the file cannot be read, if a column is missing or
      occurs twice, or if a row is shorter or longer than the header.
  """
  try:
    with open(path, newline='', encoding='utf-8-sig') as f:
      reader = csv.reader(f, strict=True)
      header = cells.undo_all(next(reader, []))
      rows = [(f'{path}, line {reader.line_num}', cells.undo_all(row))
              for row in reader if row]
  except (OSError, ValueError, csv.Error) as e:
    raise binary.UserError(f'{path} cannot be read as CSV: {e}.') from e
  for name in required:
    if name not in header:
      raise binary.UserError(
          f'{path}, line 1: no column {name!r}; expected '
          f'{", ".join(required)} and others.')
  twice = sorted({c for c in header if header.count(c) > 1})
  if twice:
    raise binary.UserError(f'{path}, line 1: column {twice[0]!r} is twice.')
  for where, row in rows:
    if len(row) != len(header):
      raise binary.UserError(
          f'{where}: {grammar.counted(len(row), "cell")}, expected '
          f'{len(header)}.')
  return header, rows


def write_csv(path: str, header: Sequence[str], rows: Sequence[Any]) -> None:
  """Writes a table; other programs never see a half-written file."""
  with whole_file.open_whole(path, newline='', encoding='utf-8') as f:
    writer = csv.writer(f)
    writer.writerow(cells.guard_all(header))
    writer.writerows(map(cells.guard_all, rows))


def beside(path: str) -> str:
  """Returns the path of the columns of a table that does not show all rows."""
  return f'{os.path.splitext(path)[0]}.npz'


def write_columns(path: str, columns: Mapping[str, np.ndarray]) -> str:
  """Writes all rows of a table whose CSV file shows only `MOST_ROWS` of them.

  Args:
    path: the CSV file. The columns go into the file `beside` it, which NumPy
      reads. If the CSV file shows all rows, such a file is of an earlier table,
      and is removed.
    columns: columns by name, [N] each.

  Returns:
    A sentence that says where all rows are, or ''.
  """
  output, (number, *_) = beside(path), map(len, columns.values())
  if number <= MOST_ROWS:
    if os.path.lexists(output):
      os.remove(output)
    return ''
  with whole_file.open_whole(output, 'wb') as f:
    np.savez_compressed(f, **columns)
  return (f'{os.path.basename(path)} shows {MOST_ROWS} of {number} rows, '
          f'{os.path.basename(output)} has all.')


def read_columns(
    path: str, names: Sequence[str]
) -> dict[str, np.ndarray] | None:
  """Returns columns of all rows of a table that `write_columns` has written.

  Args:
    path: the CSV file.
    names: names of the columns.

  Returns:
    The columns by name; None if the CSV file itself has all rows.

  Raises:
    binary.UserError: if the columns cannot be read.
  """
  if not os.path.exists(beside(path)):
    return None
  try:
    with np.load(beside(path)) as columns:
      return {name: columns[name] for name in names}
  except Exception as e:  # A damaged archive may raise any error.
    raise binary.UserError(
        f'{beside(path)} cannot be read: make it anew, with the table beside '
        'it.') from e
