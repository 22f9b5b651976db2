"""Finds pictures with consecutive names, which may be frames of one video."""

from collections.abc import Sequence
import pathlib
import re

_SPLIT_FOLDER = re.compile(
    r'(images?)?[-_]?(tr|train(ing)?|va|val(id(ation)?)?|ts|test(ing)?)'
    r'([-_]?images?)?', re.IGNORECASE)
_SEVERAL = -1  # Stands for a name that several pictures have.


def find(
    names: Sequence[str], groups: Sequence[str]
) -> list[tuple[int, int]]:
  """Finds pictures in different groups whose names are consecutive.

  Names are consecutive if only their last numbers differ, by 1, such as
  `p1/frame_9.png` and `p1/frame_10.png`; leading zeros do not matter. Folders
  named after a split are ignored, so that `train/1.png` and `test/2.png` are
  consecutive. If two splits hold the same names, for instance because each
  split counts from 1, these names are skipped.

  Args:
    names: paths of the pictures, with slashes.
    groups: group of each picture, such as its split.

  Returns:
    The indices of the two pictures of each pair.
  """
  numbers = {}  # Maps all of a name but its number to a dict of its numbers.
  for i, name in enumerate(names):
    path = pathlib.PurePosixPath(name)
    found = re.fullmatch(r'(.*?)(\d{1,18})(\D*)', path.stem, re.DOTALL)
    if found:
      folders = tuple(
          f for f in path.parent.parts if not _SPLIT_FOLDER.fullmatch(f))
      known = numbers.setdefault((folders, found[1], found[3]), {})
      number = int(found[2])
      known[number] = _SEVERAL if number in known else i
  pairs = []
  for known in numbers.values():
    for number, i in known.items():
      after = known.get(number + 1, _SEVERAL)
      if _SEVERAL not in (i, after) and groups[i] != groups[after]:
        pairs.append((i, after))
  return sorted(pairs)
