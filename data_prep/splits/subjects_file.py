"""Reads the CSV file in which a user names the subject of each picture.

  id,subject,site,annotator
  scan_001,anna,clinic_a,
  scan_002,anna,clinic_a,

The columns `site` and `annotator` may be missing. If the cell of a site or an
annotator is empty, the picture keeps its present value. A picture whose subject
is empty counts as a subject of its own. The cell of an id holds the id of a
row, the name of a file, or the name of a volume, which stands for its slices.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.splits import csv_lines

_REQUIRED = ('id', 'subject')
_COLUMNS = (*_REQUIRED, 'site', 'annotator')

_Problem = manifest_lib.Problem


class Entry(NamedTuple):
  """One line of a file of subjects; `line` is its number, counted from 1."""

  id: str
  subject: str
  site: str
  annotator: str
  line: int


def read_subjects(
    path: str,
) -> tuple[list[Entry], list[manifest_lib.Problem]]:
  """Reads a file of subjects; mistakes in it become problems, not errors.

  Raises:
    OSError: if the file cannot be read.
  """
  def parse_header(header, line):
    header = [cell.lower() for cell in header]
    wrong = _check_header(header, line, path)
    return None if wrong else header, wrong

  lines, problems = csv_lines.read(
      path, parse_header, strip=True, semicolons=True)
  entries = []
  for line, found in lines:
    fields = dict.fromkeys(_COLUMNS, '') | found
    if fields['id']:
      entries.append(Entry(**fields, line=line))
    else:
      problems.append(_Problem(
          'the id is empty', '', 'write the id of a picture', line, file=path))
  return entries, problems


def apply_subjects(
    rows: Sequence[manifest_lib.Row],
    entries: Sequence[Entry],
    *,
    file: str,
    cases: dict[str, list[str]],
    gone: Collection[str] = (),
) -> tuple[list[manifest_lib.Row], list[manifest_lib.Problem]]:
  """Gives each row the subject, site and annotator that a file names.

  Args:
    rows: rows of a manifest.
    entries: entries as read by `read_subjects`.
    file: path of the file, for the problems.
    cases: maps the name of each volume to the ids of its slices, see
      `row_names.read_cases`.
    gone: names of files that were left out; entries may still name them.

  Returns:
    The rows in the same order, and the problems: ids that are unclear or
    unknown, pictures with two different entries, and pictures without an entry.
  """
  names = row_names.RowNames(rows, cases, with_subjects=False)
  said, problems = {}, []
  for entry in entries:
    try:
      ids = names.find(entry.id)
    except row_names.UnclearNameError as error:
      problems.append(_Problem(
          f'the id is unclear: {error}', repr(entry.id), 'correct it',
          entry.line, file=file))
      continue
    if not ids and entry.id not in gone:
      problems.append(_Problem(
          'no picture or volume has this id', repr(entry.id),
          f'correct it or remove the line; {names.nearest(entry.id)}',
          entry.line, file=file))
    for row_id in ids:
      known = said.setdefault(row_id, entry)
      if known[1:4] != entry[1:4]:
        problems.append(_Problem(
            f'line {known.line} gives other values for this picture',
            repr(entry.id), 'remove one of the lines', entry.line, file=file))
        break
  missing = [row.id for row in rows if row.id not in said]
  problems += [
      _Problem('no line names the picture', '', 'add a line with its id and '
               'subject', id=row_id, file=file) for row_id in missing]
  return [_with_entry(row, said.get(row.id)) for row in rows], problems


def _with_entry(row, entry):
  if entry is None:
    return row
  return row._replace(
      subject=entry.subject, site=entry.site or row.site,
      annotator=entry.annotator or row.annotator)


def _check_header(header, line, file):
  if set(_REQUIRED) <= set(header) <= set(_COLUMNS) and len(
      set(header)) == len(header):
    return []
  return [_Problem(
      'expected the columns id, subject, and perhaps site, annotator',
      ','.join(header), 'start with the line id,subject', line, file=file)]
