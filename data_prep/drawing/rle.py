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


def runs_of(flat: np.ndarray) -> list[int]:
  """Returns the run lengths of bool [N], starting with a run of False."""
  changes = np.flatnonzero(np.diff(flat, prepend=False)) if flat.size else []
  return np.diff([0, *changes, flat.size]).tolist()


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
  """Encodes a mask, bool [H, W], as {"size": [H, W], "counts": string}."""
  runs, text = runs_of(np.asarray(mask, bool).ravel(order='F')), []
  for i, run in enumerate(runs):
    value = run - runs[i - 2] if i > 2 else run
    more = True
    while more:
      group = value & 31
      value >>= 5
      more = value != (-1 if group & 16 else 0)
      text.append(chr(48 + group + 32 * more))
  return {'size': list(np.shape(mask)), 'counts': ''.join(text)}


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
  runs = _parse(counts) if isinstance(counts, str) else counts
  if not isinstance(runs, list) or not all(
      type(r) is int and 0 <= r <= _MAX_PIXELS for r in runs):
    raise ValueError('counts are not run lengths')
  if sum(runs) != size[0] * size[1]:
    raise ValueError(
        f'counts hold {sum(runs)} pixels, not {size[0]} x {size[1]}')
  values = np.arange(len(runs)) % 2 == 1
  return np.repeat(values, runs).reshape(size, order='F')


def _parse(text):
  runs, value, shift = [], 0, 0
  for character in text:
    group = ord(character) - 48
    if not 0 <= group < 64 or shift > 30:
      raise ValueError('counts are not run lengths')
    value |= (group & 31) << shift
    shift += 5
    if group & 32:
      continue
    if group & 16:
      value -= 1 << shift
    runs.append(value + runs[-2] if len(runs) > 2 else value)
    value, shift = 0, 0
  if shift:
    raise ValueError('counts end within a run')
  return runs
