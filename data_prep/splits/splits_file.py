"""Reads and writes the CSV file of splits and roles.

The file can be edited by hand and committed to version control:

  id,subject,split,role,fold
  a,s1,train,strong,0
"""

from collections.abc import Mapping, Sequence
import csv
import os
from typing import NamedTuple

from data_prep import manifest
from data_prep.shared import cells
from data_prep.shared import grammar
from data_prep.shared import whole_file
from data_prep.splits import csv_lines

COLUMNS = ('id', 'subject', 'split', 'role', 'fold')


class Entry(NamedTuple):
  """One line of a file of splits.

  Attributes:
    id: id of the image.
    subject: subject of the image, for readers of the file; empty if the image
      is a subject of its own.
    split: one of `manifest.SPLITS`.
    role: one of `manifest.ROLES`.
    fold: fold of a cross-validation, from 0, or None.
    line: line in the file; 0 if the entry was not read from a file.
    file: path of the file, or empty.
  """

  id: str
  subject: str
  split: str
  role: str
  fold: int | None = None
  line: int = 0
  file: str = ''


def write_splits(
    path: str | os.PathLike[str],
    rows: Sequence[manifest.Row],
    folds: Mapping[str, int] | None = None,
) -> None:
  """Writes the splits and roles of rows, sorted by id.

  The file appears only when it is complete.

  Args:
    path: path of the CSV file; its folder must exist.
    rows: rows of a manifest, which get one line each.
    folds: fold of each image by id; images without an entry have no fold.
  """
  folds = folds or {}
  # The CSV writer quotes cells that hold line feeds, but not those that hold
  # carriage returns.
  quote = any('\r' in row.id + row.subject for row in rows)
  with whole_file.open_whole(path, encoding='utf-8', newline='') as file:
    writer = csv.writer(
        file, lineterminator='\n',
        quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda r: r.id):
      writer.writerow(cells.guard_all((
          row.id, row.subject, row.split, row.role, folds.get(row.id, ''))))


def read_splits(
    path: str | os.PathLike[str],
) -> tuple[list[Entry], list[manifest.Problem]]:
  """Reads a file of splits; mistakes in it become problems, not errors.

  Args:
    path: path of the CSV file.

  Returns:
    The entries of all usable lines, and all problems of the file. If an id
    occurs twice, only its first line is an entry.

  Raises:
    OSError: if the file cannot be read.
  """
  file = str(path)

  def parse_header(header, line):
    return (header if set(COLUMNS) <= set(header) else None,
            _check_columns(header, line, file))

  lines, problems = csv_lines.read(path, parse_header)
  entries = {}
  for line, found in lines:
    entry, wrong = _parse_entry(found, line, file)
    problems += wrong
    if entry.id in entries:
      problems.append(manifest.Problem(
          f'duplicate id, first on line {entries[entry.id].line}', '',
          'remove one of the lines', line, entry.id, 'id', file))
    elif entry.id:
      entries[entry.id] = entry
  entries = list(entries.values())
  return entries, _in_order([*problems, *_check_entries(entries)])


def apply_splits(
    rows: Sequence[manifest.Row],
    entries: Sequence[Entry],
    *,
    by: str = 'subject',
) -> tuple[list[manifest.Row], list[manifest.Problem]]:
  """Gives each row the split and the role of its entry.

  Splits and roles that the rows had before are replaced.

  Args:
    rows: rows of a manifest.
    entries: entries as read by `read_splits`.
    by: 'subject' reports subjects that are in two splits; 'site' also reports
      sites that are in two splits.

  Returns:
    The rows in the same order, and all problems. A row whose entry is wrong or
    missing is not changed.
  """
  file = entries[0].file if entries else ''
  found = _check_entries(entries)
  ids = {row.id for row in rows}
  for entry in entries:
    if entry.id not in ids:
      found.append(manifest.Problem(
          'listed, but no such image in the set', '',
          'remove the line, or correct the id', entry.line, entry.id, 'id',
          entry.file))
  by_id = {entry.id: entry for entry in entries}
  applied, matched = [], []
  for row in rows:
    entry = by_id.get(row.id)
    if entry is None:
      found.append(manifest.Problem(
          'not listed', '', 'add a line for it', 0, row.id, 'id', file))
    else:
      if entry.subject != row.subject:
        found.append(manifest.Problem(
            f'its subject in the set is {row.subject!r}', repr(entry.subject),
            'correct the subject', entry.line, row.id, 'subject', entry.file))
      matched.append((row, entry))
      if entry.split in manifest.SPLITS and entry.role in manifest.ROLES:
        row = row._replace(split=entry.split, role=entry.role)
    applied.append(row)
  # Check the subjects that the set names, since those in the file may be wrong.
  true = [entry._replace(subject=row.subject) for row, entry in matched]
  found += _check_shared([(e.subject, e) for e in true], 'subject')
  if by == 'site':
    found += _check_shared([(r.site, e) for r, e in matched], 'site')
  return applied, _in_order(dict.fromkeys(found))


def _check_columns(header, line, file):
  """Returns the problems of the header of a file of splits."""
  problems = [manifest.Problem(
      f'unknown column {name!r}', '', f'use {",".join(COLUMNS)}', line,
      file=file) for name in header if name not in COLUMNS]
  if not set(COLUMNS) & set(header):
    return [manifest.Problem(
        'the first line is not a header', ','.join(header),
        f'start with {",".join(COLUMNS)}, with commas', line, file=file)]
  for name in COLUMNS:
    if header.count(name) != 1:
      problems.append(manifest.Problem(
          f'expected one column {name!r}', str(header.count(name)),
          f'use {",".join(COLUMNS)}', line, file=file))
  return problems


def _parse_entry(found, line, file):
  """Returns the entry of a line, and its problems.

  A wrong fold is replaced by None, so that the entry can still be used.
  """
  problems = []
  fold = found['fold'].strip()
  if fold and not (fold.isascii() and fold.isdigit() and len(fold) < 10):
    problems.append(manifest.Problem(
        'expected a whole number from 0, or nothing', repr(fold),
        'correct the fold', line, found['id'], 'fold', file))
    fold = ''
  if not found['id']:
    problems.append(manifest.Problem(
        'the id is empty', '', 'write the id of an image', line, '', 'id',
        file))
  return Entry(
      found['id'], found['subject'], found['split'].strip(),
      found['role'].strip(), int(fold) if fold else None, line, file), problems


def _check_entries(entries):
  """Returns the problems of entries that can be found without their set."""
  problems = []
  num_folds = len({e.fold for e in entries} - {None})
  for entry in entries:
    for field, known in (
        ('split', manifest.SPLITS), ('role', manifest.ROLES)):
      if getattr(entry, field) not in known:
        problems.append(manifest.Problem(
            f'expected one of {", ".join(known)}',
            repr(getattr(entry, field)), f'correct the {field}', entry.line,
            entry.id, field, entry.file))
    if entry.fold is not None and not 0 <= entry.fold < num_folds:
      problems.append(manifest.Problem(
          f'expected 0 to {num_folds - 1}, as there '
          f'{grammar.verb(num_folds, "are")} '
          f'{grammar.counted(num_folds, "fold")}',
          str(entry.fold), 'count from 0 and leave no fold empty', entry.line,
          entry.id, 'fold', entry.file))
  return problems + _check_shared([(e.subject, e) for e in entries], 'subject')


def _check_shared(named, field):
  """Returns a problem for each subject or site in two splits or two folds.

  Args:
    named: pairs of the name of a subject or site and an entry that belongs to
      it.
    field: 'subject' or 'site'.
  """
  problems, first, told = [], {}, set()
  for place in ('split', 'fold'):
    if (field, place) == ('site', 'fold'):
      continue  # Folds may divide sites even if the splits do not.
    for name, entry in named:
      value = getattr(entry, place)
      if not name or value in (None, ''):
        continue
      known = first.setdefault((place, name), entry)
      if getattr(known, place) != value and (place, name) not in told:
        told.add((place, name))
        problems.append(manifest.Problem(
            f'{field} is in {place} {value} and, on line {known.line}, in '
            f'{place} {getattr(known, place)}', repr(name),
            f'keep all its images in one {place}', entry.line, entry.id, field,
            entry.file))
  return problems


def _in_order(problems):
  """Sorts problems by line; those without a line come last."""
  return sorted(problems, key=lambda p: p.line or 10**9)
