"""Finds pairs that may be alike among many pictures without comparing them all.

Some pictures, chosen at random, are the pivots. Each picture is assigned to the
`_SHARED` pivots that it resembles most, and only pictures with a common pivot
are compared. With P = c sqrt(N) pivots for N pictures, the assignment takes N P
comparisons, and the comparisons with a common pivot are about as many, so that
the time grows like N^1.5.

A pair is missed if its two pictures have no common pivot, which is the rarer
the more they are alike. experiments/results/scale.md says how many are missed.
"""

from collections.abc import Callable, Iterable, Iterator
import functools
import math

import numpy as np

from data_prep.shared import pixels
from data_prep.shared import scratch

# Up to this number of pictures, all pairs are compared.
EXHAUSTIVE = 50_000

_SHARED = 8
_PIVOTS = 8  # Number of pivots, over the square root of that of the pictures.
_BLOCK = 512  # Number of pictures that are compared at once.

_Screen = Callable[[np.ndarray, np.ndarray], np.ndarray]


def candidates(
    blocks: Iterable[np.ndarray],
    groups: np.ndarray | None,
    *,
    screen: _Screen,
    least: float,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields pairs that may be alike, each of them once.

  Args:
    blocks: vectors of the pictures, float32 [N_i, D] each; those of zeros are
      skipped.
    groups: group of each picture, int [sum N_i], if only pictures of different
      groups are to be paired; else None.
    screen: function that takes vectors [N, D] and [M, D] and returns how much
      they may be alike, [N, M].
    least: pairs with at most this value are skipped.

  Yields:
    The indices of the pictures of some pairs: int [P] and int [P], the larger
    ones first.
  """
  store = _Store(blocks)
  chosen = np.sort(np.random.default_rng(0).permutation(store.used)[
      : math.ceil(_PIVOTS * math.sqrt(len(store.used)))])
  if not chosen.size:
    return
  nearest = _assign(store, store.read(chosen), screen)
  order = np.argsort(nearest, axis=None, kind='stable').astype(np.int64)
  starts = np.searchsorted(
      nearest.ravel()[order], np.arange(len(chosen) + 1))
  order //= _SHARED  # The index of each picture, sorted by its pivots.
  find = functools.partial(
      _in_cell, store=store, nearest=nearest, groups=groups, screen=screen,
      least=least)
  for found in pixels.each_in_threads(find, (
      (pivot, order[start:stop]) for pivot, (start, stop) in enumerate(
          zip(starts[:-1], starts[1:], strict=True)))):
    yield from found


class _Store:
  """Vectors in a file.

  Attributes:
    number: number N of all vectors.
    used: indices of the vectors that are not zero, int32.
  """

  def __init__(self, blocks):
    self._file, self.number, used = scratch.Scratch(), 0, []
    for vectors in blocks:
      self._dims = vectors.shape[1]
      used.append(self.number + np.flatnonzero(vectors.any(1)))
      self._file.add(vectors.tobytes())
      self.number += len(vectors)
    self.used = np.concatenate(used or [[]]).astype(np.int32)

  def read(self, indices):
    """Returns some vectors, float32 [N, D]."""
    size = 4 * self._dims
    return np.frombuffer(b''.join(
        self._file.read(i * size, size) for i in indices.tolist()),
        np.float32).reshape(-1, self._dims)


def _assign(store, pivots, screen):
  """Returns the pivots that each picture resembles most, int32 [N, _SHARED].

  Vectors of zeros get the number of pivots.
  """
  shared = min(_SHARED, len(pivots))
  found = np.full((store.number, _SHARED), len(pivots), np.int32)

  def work(some):
    alike = screen(store.read(some), pivots)
    # A copy, since a view would hold the whole array.
    return np.argpartition(alike, -shared, axis=1)[:, -shared:].astype(np.int32)

  blocks = [store.used[start : start + _BLOCK // 4]
            for start in range(0, len(store.used), _BLOCK // 4)]
  for some, near in zip(
      blocks, pixels.each_in_threads(work, blocks), strict=True):
    found[some, :shared] = near
  return found


def _in_cell(cell, *, store, nearest, groups, screen, least):
  """Returns the pairs among the pictures of one pivot, as a list of arrays.

  A pair with several common pivots is returned at the first of them only.

  Args:
    cell: number of the pivot, and the indices of its pictures in order.
  """
  pivot, members = cell
  found = []
  vectors = store.read(members)
  blocks = [slice(start, start + _BLOCK)
            for start in range(0, len(members), _BLOCK)]
  for n, second in enumerate(blocks):
    for first in blocks[: n + 1]:
      later, earlier = members[second], members[first]
      if groups is not None and len(
          {*groups[later].tolist(), *groups[earlier].tolist()}) == 1:
        continue
      alike = screen(vectors[second], vectors[first]) > least
      alike &= later[:, None] > earlier
      if groups is not None:
        alike &= groups[later][:, None] != groups[earlier]
      left, right = np.nonzero(alike)
      left, right = later[left], earlier[right]
      shared = np.where((
          nearest[left][:, :, None] == nearest[right][:, None]).any(2),
                        nearest[left], len(nearest))
      is_first = shared.min(1, initial=len(nearest)) == pivot
      if is_first.any():
        found.append((left[is_first], right[is_first]))
  return found
