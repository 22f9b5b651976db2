"""Reads CSV files that users write, and reports errors in them as problems."""

from collections.abc import Callable
import csv
import io
import os
import pathlib

from data_prep import manifest
from data_prep.shared import cells
from data_prep.shared import grammar

_Problem = manifest.Problem


def read(
    path: str | os.PathLike[str],
    parse_header: Callable[
        [list[str], int], tuple[list[str] | None, list[_Problem]]],
    *,
    strip: bool = False,
    semicolons: bool = False,
) -> tuple[list[tuple[int, dict[str, str]]], list[_Problem]]:
  """Reads a CSV file with a header; blank lines are skipped.

  Args:
    path: path of the file.
    parse_header: function that takes the cells of the first line (an empty list
      if the file is empty) and the number of that line. It returns the names of
      the columns, or None if the header cannot be used, and the problems.
    strip: whether to remove spaces around cells.
    semicolons: whether semicolons may separate the cells, as in the
      spreadsheets of some countries.

  Returns:
    A list of the lines, and the problems of the whole file. Each line is a pair
    of its number, counted from 1, and its cells by column. Lines with more or
    fewer cells than the header are left out.

  Raises:
    OSError: if the file cannot be read.
  """
  file = str(path)
  try:
    text = pathlib.Path(path).read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    return [], [_Problem(
        'not UTF-8', f'byte {error.start}', 'save it as CSV in UTF-8',
        file=file)]
  first = text.partition('\n')[0]
  separator = ';' if semicolons and ';' in first and ',' not in first else ','
  reader = csv.reader(
      io.StringIO(text, newline=''), strict=True, delimiter=separator)
  columns, is_first, lines, problems, line = None, True, [], [], 0
  try:
    for record in reader:
      # A quoted cell may contain line breaks, so that a record can extend over
      # several lines of the file.
      start, line = line + 1, reader.line_num
      record = cells.undo_all(c.strip() if strip else c for c in record)
      if not any(record):
        continue
      if is_first:
        is_first = False
        columns, problems = parse_header(record, start)
        if columns is None:
          return [], problems
      elif len(record) != len(columns):
        problems.append(_Problem(
            f'expected {grammar.counted(len(columns), "cell")}',
            str(len(record)),
            'quote cells that hold a comma, and end none too early', start,
            file=file))
      else:
        lines.append((start, dict(zip(columns, record, strict=True))))
  except csv.Error as error:
    problems.append(_Problem(
        f'not CSV ({error})', '', 'correct its quotes', reader.line_num,
        file=file))
  if is_first:
    problems += parse_header([], 1)[1]
  return lines, problems
