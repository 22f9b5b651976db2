"""Checks the names of rows and of their files."""

from collections.abc import Sequence

from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.shared import confined
from data_prep.shared import pixels

_Problem = manifest_lib.Problem


def check_ids(
    rows: Sequence[manifest_lib.Row], log: check_annotation.Log
) -> None:
  """Reports ids that cannot name a file, and ids that occur twice."""
  first = {}
  for row in rows:
    if not confined.is_name(row.id):
      log.problems.append(_Problem(
          'the id cannot name a file below a folder', pixels.tail(row.id),
          confined.FIX, row.line, row.id, 'id'))
    if row.id in first:
      log.problems.append(_Problem(
          f'duplicate id, first on line {first[row.id]}', '',
          'give each image its own id', row.line, row.id, 'id'))
    first.setdefault(row.id, row.line)


def check_case(
    rows: Sequence[manifest_lib.Row], log: check_annotation.Log
) -> None:
  """Reports names that differ from another name only in letter case."""
  # Many names are their own folded form, so that they take no memory twice.
  first, lines = {'id': {}, 'file': {}}, {}
  for row in rows:
    for field, place, name in _names(row):
      folded = pixels.fold(name)
      known = first[place].setdefault(name if name == folded else folded, name)
      if known == name:
        continue
      if not lines:
        for r in reversed(rows):
          lines |= {(where, n): r.line for _, where, n in _names(r)}
      log.problems.append(_Problem(
          f'differs only in case from {pixels.tail(known)!r} on line '
          f'{lines[place, known]}',
          pixels.tail(name), 'rename one: many disks cannot hold both',
          row.line, row.id, field))
      break  # An id is often the name of its file: report only one of them.


def _names(row):
  """Yields a row's names: the field, whether an id or a file, and the name."""
  yield 'image', 'file', row.image
  path = (row.annotation or {}).get('path')
  if isinstance(path, str):
    yield 'annotation.path', 'file', path
  yield 'id', 'id', row.id
