"""Detects masks stored as JPEG, whose compression changes class numbers."""

import collections
import pathlib

from data_prep import formats
from data_prep.shared import grammar

_NEAR = 48  # Noise leaves the pixels of a black-white mask this near 0 or 255.
_NEARLY_ALL = 0.99
_WINDOW = 8  # Values at most this far apart are noise of one value.
_SOME = 0.05  # Share of the pixels that are not near 0.


def is_lossy(path: pathlib.Path) -> bool:
  """Returns whether the content of a file is JPEG, whatever its name."""
  try:
    with open(path, 'rb') as file:
      return file.read(3) == b'\xff\xd8\xff'
  except OSError:
    return False


def ask(
    found: list[tuple[str, pathlib.Path]],
    read: list[dict[int, int]],
    options: formats.Options,
    report,
) -> bool:
  """Refuses JPEG masks whose values may be noise.

  They are clean if they hold only 0 and 255, values of the masks that are not
  JPEG, or values that the user maps.

  Args:
    found: kind and path of each mask.
    read: number of pixels by stored value, for each mask.
    options: what the user says.
    report: receives the problem.

  Returns:
    Whether the masks are refused.
  """
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
  # Class numbers such as 0 and 1 are all near 0, so some values must be near
  # 255. A small class between them has few pixels, but they gather at its
  # value.
  return max(total) >= 255 - _NEAR and near > _NEARLY_ALL * sum(
      total.values()) and all(min(v, 255 - v) <= _NEAR for v in centres)


def _gather(total):
  """Returns up to four values around which many pixels gather, ascending."""
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
