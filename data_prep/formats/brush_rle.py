"""Encodes and decodes brush masks as Label Studio stores them.

The bytes of an RGBA picture, row by row, are packed by the run lengths of
thi.ng/rle-pack (https://github.com/thi-ng/umbrella, packages/rle-pack). A
stream of bits holds the number of values (32 bits), the bits of a value less 1
(5), and the bits of each of four kinds of length less 1 (4 each). After that
follow runs: a bit that is 1 if all values are equal, the kind of length (2
bits), the length less 1, and the value, or each value. A pixel belongs to the
mask if its alpha is not 0. Label Studio's own converters read it so, too.
"""

from typing import Any

import numpy as np

from data_prep.drawing import rle as rle_lib
from data_prep.shared import pixels

_LENGTH_BITS = (3, 4, 8, 16)
_MAX_RUN = 2 ** _LENGTH_BITS[-1]


def decode(values: Any, size: tuple[int, int]) -> np.ndarray:
  """Decodes a mask, bool [H, W].

  Args:
    values: list of bytes.
    size: height and width of the picture.

  Raises:
    ValueError: if the bytes are not a mask of this size; the message is one
      line.
  """
  try:
    content = bytes(values) if isinstance(values, list) else None
  except (TypeError, ValueError):
    content = None
  if content is None:
    raise ValueError('rle is not a list of bytes')
  number = 4 * size[0] * size[1]
  if number > 4 * pixels.MAX_PIXELS:
    raise ValueError(f'a picture of {size[0]} x {size[1]} is too large')
  head = int.from_bytes(content[:7].ljust(7, b'\0'))
  if len(content) < 7 or head >> 24 != number:
    raise ValueError(
        f'rle holds {head >> 24} values, not 4 x {size[0]} x {size[1]}')
  value_bits = (head >> 19 & 31) + 1
  length_bits = [(head >> shift & 15) + 1 for shift in (15, 11, 7, 3)]
  shown, lengths = _runs(content, value_bits, length_bits, number)
  flat = np.repeat(np.array(shown, bool), lengths)
  return flat.reshape(*size, 4)[..., 3]


def _runs(content, value_bits, length_bits, number):
  """Returns whether the values of each run are above 0, and its length."""
  end, content = 8 * len(content), content + bytes(8)
  place, done, mask = 53, 0, (1 << value_bits) - 1
  shown, lengths = [], []
  while done < number:
    # The next 64 bits hold the whole run if all its values are equal.
    word = int.from_bytes(content[place // 8 : place // 8 + 8])
    left = 61 - place % 8
    head = word >> left & 7
    left -= length_bits[head & 3]
    length = 1 + (word >> left & (1 << length_bits[head & 3]) - 1)
    length = min(length, number - done)
    done += length
    if head & 4:
      shown.append(word >> left - value_bits & mask != 0)
      lengths.append(length)
      place += 3 + length_bits[head & 3] + value_bits
    else:
      place += 3 + length_bits[head & 3]
      for _ in range(length):
        word = int.from_bytes(content[place // 8 : place // 8 + 8])
        shown.append(word >> 64 - place % 8 - value_bits & mask != 0)
        place += value_bits
        if place > end:
          break
      lengths += [1] * length
    if place > end:
      raise ValueError('rle ends within a run')
  return shown, lengths


def encode(mask: np.ndarray) -> list[int]:
  """Encodes a mask, bool [H, W], as a list of bytes; the mask has alpha 255."""
  runs, value = rle_lib.runs_of(np.repeat(mask.ravel(), 4)), False
  bits = [f'{4 * mask.size:032b}{7:05b}']
  bits += [f'{number - 1:04b}' for number in _LENGTH_BITS]
  for run in runs:
    while run:
      length = min(run, _MAX_RUN)
      kind = next(i for i, number in enumerate(_LENGTH_BITS)
                  if length <= 2**number)
      bits.append(f'1{kind:02b}{length - 1:0{_LENGTH_BITS[kind]}b}'
                  f'{255 * value:08b}')
      run -= length
    value = not value
  text = ''.join(bits)
  text += '0' * (-len(text) % 8)
  return list(int(text, 2).to_bytes(len(text) // 8))
