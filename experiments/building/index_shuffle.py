"""Shuffles the rows of a large split without holding a permutation in memory.

The order of an epoch is a Feistel network over the next power of four, applied
again to results that are no row ("cycle walking"): Black and Rogaway, "Ciphers
with Arbitrary Finite Domains", 2002 (https://eprint.iacr.org/2001/012). Each
row is computed from (seed, epoch, position) alone, so that all hosts agree and
a resumed run goes on anywhere.

Grain's shuffle needs no memory either, but its four rounds mix large splits
badly (experiments/results/scale.md).
"""

from collections.abc import Sequence

import numpy as np

_ROUNDS = 6


class Batches(Sequence[np.ndarray]):
  """The endless sequence of batches of shuffled rows, int64 [B] each.

  Each epoch has another order. Rows that do not fill its last batch are left
  out.
  """

  def __init__(self, number: int, batch_size: int, seed: int):
    self._number, self._batch_size, self._seed = number, batch_size, seed

  def __len__(self):
    return np.iinfo(np.int64).max

  def __getitem__(self, index):
    epoch, batch = divmod(index, self._number // self._batch_size)
    first = batch * self._batch_size
    return shuffle(
        np.arange(first, first + self._batch_size), number=self._number,
        seed=self._seed, epoch=epoch)


def shuffle(
    positions: np.ndarray, *, number: int, seed: int, epoch: int
) -> np.ndarray:
  """Returns the rows at some positions of the order of an epoch.

  Args:
    positions: positions in [0, number), int [B].
    number: number of rows.
    seed: seed of the run, not negative.
    epoch: number of the pass over the rows.

  Returns:
    The rows, int64 [B]; over all positions, they are a permutation.
  """
  keys = np.random.SeedSequence((seed, epoch)).generate_state(
      _ROUNDS, np.uint64)
  bits = max(1, -(-(number - 1).bit_length() // 2))
  rows = _permute(np.asarray(positions, np.uint64), keys, bits)
  while (outside := rows >= number).any():
    rows[outside] = _permute(rows[outside], keys, bits)
  return rows.astype(np.int64)


def _permute(x, keys, bits):
  """Applies a Feistel network to numbers of 2 * bits bits, uint64."""
  bits = np.uint64(bits)
  mask = (np.uint64(1) << bits) - np.uint64(1)
  left, right = x >> bits, x & mask
  for key in keys:
    left, right = right, left ^ (_hash(right ^ key) & mask)
  return left << bits | right


def _hash(x):
  """Mixes all bits of numbers, uint64: the finalizer of splitmix64."""
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
  return x ^ (x >> np.uint64(31))
