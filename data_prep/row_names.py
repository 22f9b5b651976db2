"""Finds pictures by any of their names: id, case, patient or file.

Files that a user writes by hand, such as the list of ids to leave out or the
table of subjects, may use any of these names.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
import difflib
import json
import pathlib
import re
from typing import Any

from data_prep import manifest as manifest_lib

INDEX = 'volumes.json'  # Lists each volume's slices; see `read_index`.
_SUFFIX = re.compile(r'\.[A-Za-z][A-Za-z0-9]*$')
_CHANNEL = re.compile(r'_\d{4}$')  # Number of the channel in nnU-Net's names.
_MAX_SHOWN = 60


class UnclearNameError(ValueError):
  """Raised if a name fits several pictures that do not belong together."""


class RowNames:
  """Finds the ids of the pictures to which a name refers."""

  def __init__(
      self,
      rows: Sequence[manifest_lib.Row],
      cases: Mapping[str, Sequence[str]],
      *,
      with_subjects: bool,
  ):
    """Indexes all names of the pictures.

    Args:
      rows: rows of a manifest.
      cases: maps each name of a volume to the ids of its slices, see
        `read_cases`.
      with_subjects: whether the name of a subject refers to all its pictures.
    """
    ids = {row.id for row in rows}
    self._by_id = {i: [i] for i in ids}
    self._groups = {
        name: sorted(set(some) & ids) for name, some in cases.items()
        if set(some) & ids}
    if with_subjects:
      subjects = collections.defaultdict(list)
      for row in rows:
        if row.subject:
          subjects[row.subject].append(row.id)
      self._groups = {**subjects, **self._groups}
    # Index files by the last part of their path, with and without suffix.
    self._files = [collections.defaultdict(list) for _ in range(2)]
    for row in rows:
      for names, path in zip(self._files, _paths(row.image), strict=True):
        names[path.rsplit('/', 1)[-1]].append((path, row.id))

  def find(self, name: str) -> list[str]:
    """Returns the ids to which a name refers; none if the name is unknown.

    An id takes precedence over a case or a subject, and each of these takes
    precedence over a file.

    Raises:
      UnclearNameError: if files of several folders have that name.
    """
    name = _plain(name)
    for names in (self._by_id, self._groups):
      if name in names:
        return list(names[name])
    for names in self._files:
      ends = [(path, row_id) for path, row_id in names.get(
          name.rsplit('/', 1)[-1], ()) if f'/{path}'.endswith(f'/{name}')]
      found = [i for path, i in ends if path == name] or [i for _, i in ends]
      if len(found) > 1:
        raise UnclearNameError(f'{len(found)} pictures are called so, such as '
                               f'{found[0]} and {found[1]}: give their ids')
      if found:
        return found
    return []

  def nearest(self, name: str) -> str:
    """Returns the end of a message: a hint at the most similar known name."""
    known = [*self._by_id, *self._groups, *self._files[0]]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    near = near or sorted(self._by_id)[:1]
    return f'the nearest is {near[0]!r}'[:_MAX_SHOWN] if near else ''


def names_of_file(file: str, row_id: str = '') -> set[str]:
  """Returns all names by which a user may refer to a file of a source.

  Args:
    file: path relative to the source, or empty.
    row_id: id of the file's row, or empty if the file has no row.
  """
  names = {row_id}
  for path in _paths(file):
    parts = path.split('/')
    names |= {'/'.join(parts[i:]) for i in range(len(parts))}
    names |= {_CHANNEL.sub('', parts[-1]), *parts[:-1]}
  return names - {''}


def read_index(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Returns the index of volumes that `formats.nifti` has stored.

  The index maps each case, the name of a volume, to a dict with the `file` of
  the volume and the `ids` of its slices.

  Args:
    folder: folder of the manifest. If it holds no index, the result is empty,
      since no picture was cut from a volume.
  """
  path = folder / INDEX
  if not path.exists():
    return {}
  return json.loads(path.read_text(encoding='utf-8'))


def read_cases(folder: pathlib.Path) -> dict[str, list[str]]:
  """Maps each name of a volume to the ids of the slices cut from it.

  Args:
    folder: folder of the manifest, see `read_index`.
  """
  cases = {}
  for case, entry in read_index(folder).items():
    file = _paths(entry.get('file', ''))
    for name in (case, *file, *(path.rsplit('/', 1)[-1] for path in file)):
      cases[name] = list(entry['ids'])
  return {k: v for k, v in cases.items() if k}


def shown(names: Iterable[str], longest: int = 40) -> str:
  """Returns the first three names as text, with '...' if there are more.

  Args:
    names: names of pictures, files or subjects.
    longest: number of characters beyond which a name loses its start.
  """
  names = [n if n.isprintable() else ascii(n)[1:-1] for n in names]
  text = ', '.join(
      n if len(n) <= longest else f'...{n[3 - longest:]}'
      for n in names[:3])
  return f'{text}, ...' if len(names) > 3 else text


def _plain(path):
  return path.replace('\\', '/').removeprefix('./')


def _paths(file):
  """Returns a path with slashes, and the same path without its suffix."""
  path = _plain(file)
  return path, _SUFFIX.sub('', re.sub(r'\.gz$', '', path, flags=re.I))
