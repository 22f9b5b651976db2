"""Leaves out parts of a user's data on request.

The flag --leave_out takes 'shapes', 'defective' and '@FILE', where FILE lists
names of pictures. The file has one name per line, or is a CSV file that holds
the names in its column `id` or `name`, or else in its first column. The file
OUTPUT/left_out.csv of an earlier call can be given; its lines about shapes are
skipped, since a picture is still used if one of its shapes is left out.
"""

import collections
from collections.abc import Callable, Collection, Iterable, Sequence
import csv
import io
import os
import pathlib
from typing import Any, NamedTuple

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.checks import check_report
from data_prep.shared import cells
from data_prep.shared import grammar
from data_prep.shared import whole_file

FILE = 'left_out.csv'
COLUMNS = ('name', 'what', 'field', 'reason')
KINDS = ('shapes', 'defective')

_LISTED = 'it is listed in a file of --leave_out'
_HEADERS = ('id', 'name')


def parse(values: Iterable[str]) -> frozenset[str]:
  """Parses the values of --leave_out.

  Args:
    values: values of the flag; each may hold several, separated by commas.

  Returns:
    The values as `formats.Options.leave_out` takes them: 'shapes', 'defective',
    and '@NAME' for each name in the listed files.

  Raises:
    ValueError: if a value is unknown or a file cannot be used; the message is
      one line.
  """
  allowed = set()
  for value in values:
    is_one = value.startswith('@') and os.path.isfile(value[1:])
    for part in [value] if is_one else value.split(','):
      if part.startswith('@'):
        allowed |= {f'@{name}' for name in read_names(part[1:])}
      elif part in KINDS:
        allowed.add(part)
      else:
        raise ValueError(f'--leave_out: unknown {part!r}; use '
                         f'{", ".join(KINDS)} or @FILE, a file of ids')
  return frozenset(allowed)


def read_names(path: str) -> list[str]:
  """Returns the names that a file lists for --leave_out.

  The docstring of the module describes the file.

  Raises:
    ValueError: if the file cannot be used; the message is one line.
  """
  where = f'--leave_out=@{path}'
  try:
    text = pathlib.Path(path).read_bytes().decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise ValueError(f'{where}: not UTF-8; save it as UTF-8') from error
  except OSError as error:
    raise ValueError(f'{where}: {error.strerror}') from error
  lines = text.splitlines()
  header = [c.strip().lower() for c in lines[0].split(',')] if lines else []
  if set(header) & set(_HEADERS) or path.lower().endswith('.csv'):
    try:
      names = _names_of_csv(text, header)
    except csv.Error as error:
      raise ValueError(f'{where}: not CSV ({error}); correct it') from error
  else:
    names = [line.strip() for line in lines]
  names = [name for name in names if name]
  if not names and 'what' not in header:
    raise ValueError(f'{where}: holds no id; write one per line')
  return names


def _names_of_csv(text, header):
  """Returns the names in a CSV file, except those in lines about shapes.

  Args:
    text: content of the file.
    header: cells of its first line, in lower case.
  """
  rows = [r for r in csv.reader(io.StringIO(text, newline=''), strict=True)
          if any(r)]
  column = next((header.index(h) for h in _HEADERS if h in header), None)
  what = header.index('what') if 'what' in header else None
  names = []
  for row in rows if column is None else rows[1:]:
    if what is not None and row[what : what + 1] == ['shape']:
      continue
    names += [cells.undo(cell.strip()) for cell in row[column or 0 :][:1]]
  return names


def names_in(allowed: Collection[str]) -> list[str]:
  """Returns the names that came from files listed in --leave_out.

  Args:
    allowed: the result of `parse`.
  """
  return sorted(name[1:] for name in allowed if name.startswith('@'))


def find_listed(
    rows: Sequence[manifest_lib.Row],
    allowed: Collection[str],
    *,
    folder: pathlib.Path,
    already: Iterable[formats.LeftOut] = (),
    refused: Iterable[manifest_lib.Problem] = (),
) -> list[formats.LeftOut]:
  """Returns entries for the pictures that files of --leave_out list.

  Args:
    rows: rows of a manifest.
    allowed: the result of `parse`.
    folder: folder of the manifest and, if there are volumes, of their index.
    already: entries of the files and shapes that the importer has left out. A
      list may name these files, too.
    refused: problems of the files that the importer refused. A list may name
      these files, too.

  Raises:
    ValueError: if a listed name matches no picture, or matches files in several
      folders; the message is one line.
  """
  listed = names_in(allowed)
  if not listed:
    return []
  known = row_names.RowNames(
      rows, row_names.read_cases(folder), with_subjects=True)
  earlier = frozenset().union(*map(names_of, (*already, *refused)))
  found, unknown = {}, []
  for name in listed:
    try:
      ids = known.find(name)
    except row_names.UnclearNameError as error:
      raise ValueError(f'--leave_out: {name!r}: {error}') from error
    if not ids and name not in earlier:
      unknown.append(name)
    reason = _LISTED if ids == [name] else f'{_LISTED}, as {name!r}'
    for row_id in ids:
      found.setdefault(row_id, formats.LeftOut('picture', row_id, reason))
  if unknown:
    more = f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''
    raise ValueError(
        f'--leave_out: {unknown[0][:60]!r}{more}: no such picture, case or '
        f'subject; {known.nearest(unknown[0])}')
  told = {entry.name for entry in already if entry.what == 'picture'}
  return [found[row.id] for row in rows
          if row.id in found and row.id not in told]


def names_of(thing: formats.LeftOut | manifest_lib.Problem) -> set[str]:
  """Returns the names that a list may use for an entry's or problem's file."""
  if isinstance(thing, formats.LeftOut):
    return row_names.names_of_file(thing.field, thing.name) | (
        row_names.names_of_file(thing.name))
  return row_names.names_of_file(thing.file, thing.id)


class Dropped(NamedTuple):
  """What remains of a source after some pictures were dropped.

  Attributes:
    rows: rows of the remaining pictures.
    problems: problems of these rows, and of the set as a whole.
    defective: entries of the pictures that were dropped because of problems.
  """

  rows: list[manifest_lib.Row]
  problems: list[manifest_lib.Problem]
  defective: list[formats.LeftOut]


class Checked(NamedTuple):
  """A set that was made and checked.

  Attributes:
    made: the set, as the function `make` of `check_and_leave_out` returned it.
    findings: findings of the check of this set.
    left_out: entries of the defective pictures that were left out of the set.
  """

  made: Any
  findings: check_report.Findings
  left_out: list[formats.LeftOut]


def drop(
    rows: Sequence[manifest_lib.Row],
    problems: Sequence[manifest_lib.Problem],
    allowed: Collection[str],
    listed: Sequence[formats.LeftOut],
) -> Dropped:
  """Drops pictures that are listed, and, if allowed, those with problems.

  Args:
    rows: rows that were imported from a source.
    problems: problems of the import; a problem of one row holds the row's id.
    allowed: the result of `parse`; pictures with problems are dropped if it
      holds 'defective'.
    listed: entries of the pictures to drop, from `find_listed` and the import.
  """
  gone = {entry.name for entry in listed if entry.what == 'picture'}
  ids = {row.id for row in rows}
  kept, defective = [], {}
  for problem in problems:
    if problem.id in gone:
      continue
    if problem.id in ids and 'defective' in allowed:
      defective.setdefault(problem.id, formats.LeftOut(
          'picture', problem.id, _reason(problem), problem.field))
      continue
    if problem.id in ids and '--leave_out' not in problem.fix:
      problem = problem._replace(fix=f'{problem.fix}, or --leave_out=defective')
    kept.append(problem)
  gone |= set(defective)
  return Dropped([row for row in rows if row.id not in gone], kept,
                 list(defective.values()))


def _reason(problem):
  return ': '.join(filter(None, (problem.what, problem.found)))


def check_and_leave_out(
    make: Callable[[frozenset[str]], Any],
    inspect: Callable[..., check_report.Findings],
    *,
    allowed: Collection[str],
) -> Checked:
  """Makes and checks a set, and leaves out its defective pictures if allowed.

  To leave out pictures, the set is made and checked a second time without them.
  The roles and splits are then drawn anew, so that they do not depend on the
  pictures left out. The second check does not read the remaining files again.

  Args:
    make: function that takes the ids of the pictures to leave out and returns
      the set without them, in the form that `inspect` takes.
    inspect: function that takes the set and the findings of the previous check,
      or None if there was none, and returns the findings.
    allowed: the result of `parse`; pictures are left out if it holds
      'defective'.

  Raises:
    ValueError: if no picture is left; the message is one line.
  """
  left_out = {}
  made = make(frozenset())
  findings = inspect(made, None)
  while 'defective' in allowed and findings.defects:
    for row_id, problems in findings.defects.items():
      left_out[row_id] = formats.LeftOut(
          'picture', row_id, _reason(problems[0]), problems[0].field)
    refuse_nothing_left(
        sum(row.id not in left_out for row in findings.rows),
        [*left_out.values()])
    made = make(frozenset(left_out))
    findings = inspect(made, findings)
  return Checked(made, findings, list(left_out.values()))


def refuse_nothing_left(number: int, left_out: Sequence[formats.LeftOut]):
  """Refuses a set if all its pictures were left out.

  Args:
    number: number of remaining pictures.
    left_out: entries of the pictures that were left out.

  Raises:
    ValueError: if `number` is 0 and something was left out.
  """
  if not number and left_out:
    raise ValueError(
        f'nothing is left: {len(left_out)} left out, the first, '
        f'{left_out[0].name[-40:]}, because: {left_out[0].reason[:80]}')


def lines(left_out: Sequence[formats.LeftOut]) -> list[str]:
  """Returns the lines that tell the user what was left out.

  There is one line for pictures, one for files and one for shapes. Each states
  their number and the first names.
  """
  groups = collections.defaultdict(list)
  for entry in left_out:
    groups[entry.what].append(entry.name)
  return [
      f'left out: {grammar.counted(len(names), what)} '
      f'({row_names.shown(dict.fromkeys(names))})'
      for what, names in groups.items()]


def write(
    path: pathlib.Path, left_out: Sequence[formats.LeftOut]
) -> None:
  """Writes the list of parts that were left out, such as left_out.csv.

  The file appears only when it is complete. If nothing was left out, an old
  file is removed.
  """
  if not left_out:
    path.unlink(missing_ok=True)
    return
  with whole_file.open_whole(path, newline='', encoding='utf-8',
                              errors='backslashreplace') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    for entry in left_out:
      writer.writerow(cells.guard_all((
          entry.name, entry.what, entry.field,
          ' '.join(entry.reason.split()))))


def write_without(
    given: manifest_lib.Manifest, folder: pathlib.Path, ids: Collection[str]
) -> manifest_lib.Manifest:
  """Writes a manifest to another folder, without some of its rows.

  Args:
    given: the manifest.
    folder: folder of the new manifest.
    ids: ids of the rows that are left out.

  Returns:
    The new manifest, whose rows keep the line numbers of the old one, since
    problems name them.
  """
  rows = [row for row in given.rows if row.id not in ids]
  # Make the root absolute, since the manifest moves but its pictures do not.
  root = given.header.root if given.folder == folder.resolve() else str(
      given.root.resolve())
  header = given.header._replace(root=root)
  manifest_lib.write_rows(folder / 'manifest.jsonl', header, rows)
  return manifest_lib.Manifest(header, tuple(rows), folder.resolve())
