"""Encodes and decodes the run lengths of a mask as COCO writes them.

The runs go down the columns, one column after the other, and start with a run,
possibly empty, of pixels outside the mask. In the string form, each run after
the third is stored as its difference from the run two places before. Each
number is split into groups of 5 bits, the lowest first; a group is written as
the character with the code 48 + group, or 48 + group + 32 if another group
follows (pycocotools, maskApi.c).
"""

from typing import Any

import numpy as np

_MAX_PIXELS = 2**28
_MAX_GROUPS = 7  # Of 5 bits, in one number.


def runs_of(flat: np.ndarray) -> list[int]:
  """Returns the run lengths of bool [N], starting with a run of False."""
  return _runs_of(flat).tolist()


def _runs_of(flat):
  starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
  # The first run, of False, is empty if the mask starts with True.
  first = [0, 0] if flat[:1].any() else [0]
  return np.diff(np.concatenate([first, starts, [flat.size]]).astype(np.int64))


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
  """Encodes a mask, bool [H, W], as {"size": [H, W], "counts": string}."""
  runs = _runs_of(np.asarray(mask, bool).ravel(order='F'))
  values = runs.copy()
  values[3:] -= runs[1:-2]
  # n groups hold the numbers from -2**(5n - 1) to 2**(5n - 1) - 1.
  size = np.where(values < 0, ~values, values)
  number = np.ones(len(values), np.int64)
  for bits in range(4, int(size.max()).bit_length(), 5):
    number += size >= 1 << bits
  place = np.arange(number.max())
  groups = (values[:, None] >> (5 * place)) & 31
  groups += 48 + 32 * (place < number[:, None] - 1)
  text = groups.astype(np.uint8)[place < number[:, None]].tobytes().decode()
  return {'size': list(np.shape(mask)), 'counts': text}


def decode_rle(rle: Any) -> np.ndarray:
  """Decodes a mask, bool [H, W], whose run lengths are a string or a list.

  Raises:
    ValueError: if `rle` is not a valid mask; the message is one line.
  """
  size = rle.get('size') if isinstance(rle, dict) else None
  if not (isinstance(size, (list, tuple)) and len(size) == 2
          and all(type(s) is int and s > 0 for s in size)):
    raise ValueError('expected {"size": [height, width], "counts": ...}')
  if size[0] * size[1] > _MAX_PIXELS:
    raise ValueError(f'{size[0]} x {size[1]} pixels are too many')
  counts = rle.get('counts')
  if isinstance(counts, str):
    runs = _parse(counts)
  elif isinstance(counts, list) and {*map(type, counts)} <= {int} and all(
      0 <= r <= _MAX_PIXELS for r in counts):
    runs = np.array(counts, np.int64)
  else:
    raise ValueError('counts are not run lengths')
  if ((runs < 0) | (runs > _MAX_PIXELS)).any():
    raise ValueError('counts are not run lengths')
  if runs.sum() != size[0] * size[1]:
    raise ValueError(
        f'counts hold {runs.sum()} pixels, not {size[0]} x {size[1]}')
  values = np.arange(len(runs)) % 2 == 1
  return np.repeat(values, runs).reshape(size, order='F')


def _parse(text):
  """Returns the runs of the string form, int64 [N], which may be negative."""
  if not text:
    return np.zeros(0, np.int64)
  if not text.isascii():
    raise ValueError('counts are not run lengths')
  groups = np.frombuffer(text.encode(), np.uint8) - np.uint8(48)
  ends = np.flatnonzero(groups < 32)
  starts = np.concatenate([[0], ends + 1])
  number = np.diff(starts, append=groups.size)  # Of groups; last: unfinished.
  if (groups >= 64).any() or number.max() > _MAX_GROUPS:
    raise ValueError('counts are not run lengths')
  if number[-1]:
    raise ValueError('counts end within a run')
  starts, number = starts[:-1], number[:-1]
  runs = -((groups[ends] & 16).astype(np.int64) << (5 * number - 4))
  for i in range(number.max()):
    long = number > i
    runs[long] |= (groups[starts[long] + i] & 31).astype(np.int64) << (5 * i)
  for first in (1, 2):
    runs[first::2] = np.cumsum(runs[first::2])
  return runs
