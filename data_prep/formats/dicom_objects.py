"""Finds DICOM files without a picture: segmentations, structure sets, reports.

They lie in the folder of the pictures that they belong to, with the same
suffix. They must not become unlabelled pictures, so they are counted and
reported.
"""

import collections
import pathlib
from typing import NamedTuple

from data_prep.formats import dicom
from data_prep.formats import sources
from data_prep.shared import grammar

_SUFFIXES = ('.dcm', '.dicom', '.ima')


class Found(NamedTuple):
  """Files, sorted by whether they may hold a picture.

  Attributes:
    pictures: paths of files that may be pictures or masks, in their order.
    others: type of the content of each other file, such as 'SEG', by path.
  """

  pictures: tuple[str, ...]
  others: dict[str, str]


def find(source: pathlib.Path, paths: tuple[str, ...]) -> Found:
  """Opens those of `paths`, relative to `source`, that may be DICOM."""
  others = {}
  for path in paths:
    name = path.rsplit('/', 1)[-1].lower()
    if name.endswith(_SUFFIXES) or not name.endswith(sources.PICTURES):
      held = dicom.object_name(source / path)
      if held is not None:
        others[path] = held
  return Found(tuple(p for p in paths if p not in others), others)


def count(others: dict[str, str]) -> str:
  """Returns how many files of each type there are: 'RTSTRUCT 1, SEG 2'."""
  counts = collections.Counter(others.values())
  return ', '.join(f'{name} {n}' for name, n in sorted(counts.items()))


def describe(others: dict[str, str]) -> str:
  """Returns a line about files without a picture."""
  advice = ''
  if {'SEG', 'RTSTRUCT'} & {*others.values()}:
    advice = ': export segmentations as NIfTI or as PNG masks'
  number = len(others)
  return (f'{grammar.counted(number, "DICOM file")} without a picture '
          f'({count(others)}) {grammar.verb(number, "are")} not read{advice}')


def keep_pictures(
    source: pathlib.Path, paths: tuple[str, ...], report
) -> tuple[str, ...]:
  """Returns `paths` without DICOM files that hold no picture.

  Leaving out such files is noted; it is a problem if nothing else remains.

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
        count(found.others), 'add the pictures that they belong to; export '
        'segmentations as NIfTI or as PNG masks', file=first)
  else:
    report.note(describe(found.others))
  return found.pictures
