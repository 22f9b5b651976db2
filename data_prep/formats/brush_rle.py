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
  if not isinstance(values, list) or not all(
      type(v) is int and 0 <= v < 256 for v in values):
    raise ValueError('rle is not a list of bytes')
  number = 4 * size[0] * size[1]
  if number > 4 * pixels.MAX_PIXELS:
    raise ValueError(f'a picture of {size[0]} x {size[1]} is too large')
  bits = _Bits(bytes(values))
  found = bits.read(32)
  if found != number:
    raise ValueError(f'rle holds {found} values, not 4 x {size[0]} x {size[1]}')
  value_bits = bits.read(5) + 1
  length_bits = [bits.read(4) + 1 for _ in range(4)]
  shown, lengths, done = [], [], 0
  while done < number:
    is_equal = bits.read(1)
    length = 1 + bits.read(length_bits[bits.read(2)])
    length = min(length, number - done)
    if is_equal:
      shown.append(bits.read(value_bits) != 0)
      lengths.append(length)
    else:
      shown += [bits.read(value_bits) != 0 for _ in range(length)]
      lengths += [1] * length
    done += length
  flat = np.repeat(np.array(shown, bool), lengths)
  return flat.reshape(*size, 4)[..., 3]


class _Bits:
  """Reads numbers from a stream of bits, the highest bit first."""

  def __init__(self, content):
    self._content = content
    self._place = 0

  def read(self, number):
    first, end = self._place // 8, self._place + number
    last = (end + 7) // 8
    if last > len(self._content):
      raise ValueError('rle ends within a run')
    self._place = end
    value = int.from_bytes(self._content[first:last])
    return (value >> (8 * last - end)) & ((1 << number) - 1)


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
