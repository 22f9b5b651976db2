"""Finds masks that are stored as JPEG, since this changes class numbers."""

import collections
import pathlib

from data_prep.shared import grammar
from data_prep.shared import pixels

# Despite compression noise, the pixels of a black-and-white mask stay within
# this distance of 0 or 255.
_NEAR = 48
_NEARLY_ALL = 0.99
_WINDOW = 8  # Values this near to a frequent value count as its noise.
# A value counts as frequent if it and the values near it, which are its noise,
# together cover at least this share of the pixels that are not near 0.
_SOME = 0.05


def is_lossy(path: pathlib.Path) -> bool:
  """Returns whether a file is a JPEG, judged by its content, not its name."""
  return pixels.head(path, 3) == b'\xff\xd8\xff'


def ask(
    found: list[tuple[str, pathlib.Path]],
    read: list[dict[int, int]],
    report,
) -> bool:
  """Refuses JPEG masks whose values may be noise.

  JPEG masks are accepted if the user gives a threshold, or if all their values
  are 0 or 255. They are also accepted if each value is 0, occurs in a mask of
  another file type, or is mapped by the user.

  Args:
    found: kind and path of each mask.
    read: number of pixels by stored value, for each mask.
    report: holds the user's options; receives the problem.

  Returns:
    Whether the masks are refused.
  """
  options = report.options
  if options.mask_threshold is not None:
    return False
  lossy = [is_lossy(path) for _, path in found]
  clean = {v for is_jpeg, c in zip(lossy, read, strict=True)
           if not is_jpeg for v in c}
  known = {0, *clean, *map(int, options.mask_values or ()),
           *map(int, options.scribble_values or ())}
  jpegs = [(path, c) for (_, path), c, is_jpeg in zip(
      found, read, lossy, strict=True) if is_jpeg]
  values = {v for _, counts in jpegs for v in counts}
  if values <= known or values <= {0, 255}:
    return False
  total = collections.Counter()
  for _, counts in jpegs:
    total.update(counts)
  centres = _gather(total)
  if _is_black_and_white(total, centres) and all(
      not v or v >= 128 for v in clean):
    fix = '--mask_threshold=128'
  else:
    around = (f'gather around {", ".join(map(str, centres))}'
              if len(centres) > 1 else f'hold {min(total)} to {max(total)}')
    fix = f'export as PNG (the pixels {around})'
  first = next(path for path, c in jpegs if not known.issuperset(c))
  report.wrong(
      f'{grammar.counted(len(jpegs), "mask", "are")} JPEG, whose compression '
      'changes class numbers',
      first.name[-40:], fix)
  return True


def _is_black_and_white(total, centres):
  near = sum(n for v, n in total.items() if min(v, 255 - v) <= _NEAR)
  # Class numbers such as 0 and 1 are all near 0, so require values near 255. A
  # small class with a value between 0 and 255 has few pixels, but it appears
  # among `centres`.
  return max(total) >= 255 - _NEAR and near > _NEARLY_ALL * sum(
      total.values()) and all(min(v, 255 - v) <= _NEAR for v in centres)


def _gather(total):
  """Returns up to four values that are frequent, see `_SOME`, sorted."""
  left = dict(total)
  enough = _SOME * sum(n for v, n in total.items() if v > _WINDOW)
  centres = []
  while left and len(centres) < 4:
    top = max(left, key=left.get)
    close = [v for v in left if abs(v - top) <= _WINDOW]
    if sum(left[v] for v in close) < enough:
      break
    centres.append(top)
    for v in close:
      del left[v]
  return sorted(centres)
