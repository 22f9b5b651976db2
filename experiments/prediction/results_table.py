"""Reads and writes predictions.csv, the table of all predicted files."""

from collections.abc import Callable, Iterable, Sequence
import csv
import os
import pathlib
import sys
from typing import Any

from data_prep.shared import cells
from data_prep.shared import whole_file

NAME = 'predictions.csv'
_PARTS = 'predictions_*.csv'


class Table:
  """The table in an output folder.

  While several processes predict, each writes a line as soon as a file is done:
  the first one to predictions.csv, process 3 to predictions_3.csv. If they are
  killed, the next session takes all lines over.
  """

  def __init__(
      self, folder: pathlib.Path, classes: Sequence[str], process: int = 0
  ):
    """Writes nothing yet.

    Args:
      folder: the output folder.
      classes: names of the classes.
      process: number of the process that writes.
    """
    self.path = folder / NAME
    self._folder = folder
    self._own = folder / f'predictions_{process}.csv' if process else self.path
    self._fields = [
        'file', 'state', 'mask', 'shape', 'spacing_mm',
        *(f'pixels_{name}' for name in classes), 'uncertainty',
        'input_bytes', 'input_mtime_ns', 'problem']

  def take_over(
      self, is_current: Callable[[dict[str, str]], bool]
  ) -> dict[str, dict[str, Any]]:
    """Returns the lines of files that are done, by file.

    Args:
      is_current: function that returns whether the results of a line are there.
    """
    return {
        row['file']: row
        for path in (self.path, *sorted(self._folder.glob(_PARTS)))
        for row in read(path) if row['state'] == 'done' and is_current(row)}

  def write(self, rows: Iterable[dict[str, Any]]) -> None:
    """Writes the table anew, and removes those of other processes."""
    self._write(self.path, rows)
    for part in self._folder.glob(_PARTS):
      part.unlink()

  def append(
      self, rows: Iterable[dict[str, Any]]
  ) -> Iterable[dict[str, Any]]:
    """Adds a line to the own table when it comes, then yields it.

    Problems are also printed.
    """
    if self._own != self.path:
      self._write(self._own, ())
    with open(self._own, 'a', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, self._fields)
      for row in rows:
        writer.writerow(cells.guard_row(row))
        file.flush()
        _tell_problem(row)
        yield row

  def failure(self, name: str, problem: str) -> dict[str, Any]:
    """Returns the line of a file that cannot be used."""
    return dict.fromkeys(self._fields, '') | {
        'file': name.encode('utf-8', 'backslashreplace').decode(),
        'state': 'failed', 'problem': problem}

  def _write(self, path, rows):
    with whole_file.open_whole(path, newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, self._fields)
      writer.writeheader()
      writer.writerows(map(cells.guard_row, rows))


def _tell_problem(row):
  if row['problem']:
    # A name may hold a line break or an escape sequence of a terminal.
    name = row['file']
    name = name if name.isprintable() else ascii(name)
    print(f'{name}: {row["problem"]}', file=sys.stderr, flush=True)


def read(path: str | os.PathLike[str]) -> list[dict[str, str]]:
  """Reads predictions.csv, and skips a last line that is incomplete."""
  try:
    with open(path, newline='', encoding='utf-8') as file:
      text = file.read()
  except FileNotFoundError:
    return []
  rows = list(csv.DictReader(text.splitlines(keepends=True)))
  if rows and not text.endswith('\n'):
    rows.pop()
  return [cells.undo_row(row) for row in rows if None not in row.values()]
