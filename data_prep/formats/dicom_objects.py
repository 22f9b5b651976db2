"""Finds DICOM files without a picture: segmentations, structure sets, reports.

Such files lie in the same folder as the pictures that they belong to, and have
the same suffix. They are removed from the list of pictures and reported, since
they would otherwise become unlabelled pictures.
"""

import collections
import pathlib
from typing import NamedTuple

from data_prep.formats import dicom
from data_prep.formats import sources
from data_prep.shared import grammar

_SUFFIXES = ('.dcm', '.dicom', '.ima')


class Found(NamedTuple):
  """Paths of files, divided into those with and those without a picture.

  Attributes:
    pictures: paths of files that may be pictures or masks, in the given order.
    others: maps the path of each other file to its type, such as 'SEG'.
  """

  pictures: tuple[str, ...]
  others: dict[str, str]


def find(source: pathlib.Path, paths: tuple[str, ...]) -> Found:
  """Finds DICOM files without a picture among `paths`, relative to `source`."""
  others = {}
  for path in paths:
    name = path.rsplit('/', 1)[-1].lower()
    if name.endswith(_SUFFIXES) or not name.endswith(sources.PICTURES):
      held = dicom.object_name(source / path)
      if held is not None:
        others[path] = held
  return Found(tuple(p for p in paths if p not in others), others)


def count(others: dict[str, str]) -> str:
  """Returns how many files each type has, such as 'RTSTRUCT 1, SEG 2'."""
  counts = collections.Counter(others.values())
  return ', '.join(f'{name} {n}' for name, n in sorted(counts.items()))


def describe(others: dict[str, str]) -> str:
  """Returns the text of a notice about DICOM files without a picture."""
  advice = _advice(others)
  number = len(others)
  return (f'{grammar.counted(number, "DICOM file")} without a picture '
          f'({count(others)}) {grammar.verb(number, "are")} not read'
          f'{advice and f": {advice}"}')


def _advice(others):
  """Returns which formats read the segmentations among DICOM files."""
  return ', '.join(
      f'{dicom.READ_BY[name]} reads {name}' for name in sorted(
          {*others.values()} & {*dicom.READ_BY}))


def keep_pictures(
    source: pathlib.Path, paths: tuple[str, ...], report
) -> tuple[str, ...]:
  """Returns `paths` without the DICOM files that hold no picture.

  A notice counts the files that are left out. If no file remains, a problem is
  reported instead.

  Args:
    source: folder that the paths are relative to.
    paths: files that may be pictures or masks.
    report: an `assembling.Report`, which receives the notice or the problem.
  """
  found = find(source, paths)
  if not found.others:
    return paths
  first = min(found.others)
  if not found.pictures:
    report.wrong(
        'there is no picture, only DICOM files without one',
        count(found.others), '; '.join(filter(None, (
            'add the pictures that they belong to', _advice(found.others)))),
        file=first)
  else:
    report.note(describe(found.others))
  return found.pictures
