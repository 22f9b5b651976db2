"""DICOM files without a picture: segmentations, structure sets, reports.

They lie in the folder of the pictures that they belong to, with the same
suffix. None is a picture without a label: they are counted and named.
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
    pictures: those that may be pictures or masks, in their order.
    others: what the other ones hold, such as 'SEG', by path.
  """

  pictures: tuple[str, ...]
  others: dict[str, str]


def find(source: pathlib.Path, paths: tuple[str, ...]) -> Found:
  """Looks into those of `paths`, relative to `source`, that may be DICOM."""
  others = {}
  for path in paths:
    name = path.rsplit('/', 1)[-1].lower()
    if name.endswith(_SUFFIXES) or not name.endswith(sources.PICTURES):
      held = dicom.object_name(source / path)
      if held is not None:
        others[path] = held
  return Found(tuple(p for p in paths if p not in others), others)


def count(others: dict[str, str]) -> str:
  """Returns how many there are of each, such as 'RTSTRUCT 1, SEG 2'."""
  counts = collections.Counter(others.values())
  return ', '.join(f'{name} {n}' for name, n in sorted(counts.items()))


def describe(others: dict[str, str]) -> str:
  """Returns one line on files without a picture."""
  advice = ''
  if {'SEG', 'RTSTRUCT'} & {*others.values()}:
    advice = ': export segmentations as NIfTI or as PNG masks'
  number = len(others)
  return (f'{grammar.counted(number, "DICOM file")} without a picture '
          f'({count(others)}) {grammar.verb(number, "are")} not read{advice}')


def keep_pictures(
    source: pathlib.Path, paths: tuple[str, ...], report
) -> tuple[str, ...]:
  """Returns `paths` without DICOM files that hold no picture, and says so.

  If there is nothing else, they are a problem and no notice.

  Args:
    source: folder that the paths are relative to.
    paths: files that may be pictures or masks.
    report: an `assembling.Report`; gets the notice or the problem.
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
