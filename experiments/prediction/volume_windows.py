"""Predicts volumes in windows, and keeps on the disk what is large."""

from collections.abc import Callable, Sequence
import functools
import itertools
import math
from typing import Any

from data_prep.records import volume_records
from data_prep.shared import scratch
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import planning
from data_prep.volumes import resampling
from hybridseg import inference
from hybridseg import volume_inference
import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import volume_patches
from experiments.building import volume_set

IN_MEMORY = 2**28  # Largest size of an array in memory, in bytes.

# Reads a block of a volume, from its first voxel and its size along each axis.
Read = Callable[[Sequence[int], Sequence[int]], np.ndarray]


def empty(
    shape: Sequence[int], dtype: Any, *, folder: str | None = None
) -> np.ndarray:
  """Returns an array of zeros, which lies on the disk if it is large.

  Its first axis lies together, as in files of volumes, so that a slab along the
  last axis is one part of the disk.

  Args:
    shape: shape of the array.
    dtype: type of the array.
    folder: folder on whose disk it lies; None means the system's folder for
      temporary files. The file has no name, and vanishes with the array.

  Raises:
    OSError: if the disk is full.
  """
  size = math.prod(map(int, shape)) * np.dtype(dtype).itemsize
  if size <= IN_MEMORY:
    return np.zeros(shape, dtype, order='F')
  return scratch.make_array(shape, dtype, folder, order='F')


class _Padded:
  """A volume that is at least as large as a window, as in training.

  Its axes are in the opposite order, so that its slabs lie across the last axis
  of the volume, as those of the file and of its levels do.

  Attributes:
    shape: its shape, [Z, Y, X, 1].
    start: its first voxel; 0, or less where the volume is smaller.
  """

  def __init__(self, read, shape, window):
    self._read = read
    self.shape = (*map(max, shape[::-1], window[::-1]), 1)
    self.start = volume_patches.first_start(shape, window).tolist()[::-1]

  def __getitem__(self, block):
    size = [min(part.stop, n) - part.start for part, n in zip(
        block, self.shape, strict=False)]
    return _turn(self._read([part.start + first for part, first in zip(
        block[::-1], self.start[::-1], strict=True)], size[::-1]))


def _turn(block):
  """Exchanges the axes [..., X, Y, Z, C] and [..., Z, Y, X, C]."""
  return np.swapaxes(block, -4, -2)


def predict(
    run_fn: Callable[[np.ndarray], inference.Prediction],
    read: Read,
    shape: Sequence[int],
    *,
    window: Sequence[int],
    batch_size: int,
    overlap: float = 0.5,
    folder: str | None = None,
    told: Callable[[int], None] = lambda number: None,
) -> np.ndarray:
  """Predicts a volume in overlapping windows.

  Args:
    run_fn: maps windows, float32 [batch_size, *window, 1], to a prediction.
    read: reads blocks of the volume, float32 [x, y, z, 1] in [0, 1]; outside of
      the volume, it returns the lowest level.
    shape: number of voxels of the volume along each axis.
    window: size of a window, that of the patches of the training.
    batch_size: number of windows per call.
    overlap: share of a window that its neighbour also covers, in [0, 1).
    folder: as for `empty`.
    told: is called after each batch with the number of windows so far.

  Returns:
    Probabilities and, as the last channel, the disagreement of the networks,
    float32 [*shape, K + 1].
  """

  padded = _Padded(read, shape, window)
  number = volume_inference.count_windows(
      padded.shape[:3], window[::-1], overlap=overlap)
  calls = itertools.count(1)

  def run(windows):
    found = run_fn(_turn(windows))
    result = _turn(jnp.concatenate(
        [found.probabilities, found.disagreement[..., None]], -1))
    call = next(calls)
    if call == 1:
      jax.block_until_ready(result)  # The caller measures the first batch.
    told(min(call * batch_size, number))
    return result

  before, result = -padded.start[0], None
  rest = tuple(slice(-first, n - first) for first, n in zip(
      padded.start[1:], shape[-2::-1], strict=True))
  for start, slab in volume_inference.sliding_slabs(
      run, padded, window=window[::-1], overlap=overlap,
      batch_size=batch_size):
    if result is None:
      result = empty((*shape, slab.shape[-1]), np.float32, folder=folder)
    low, high = (min(max(n - before, 0), shape[2])
                 for n in (start, start + len(slab)))
    result[:, :, low:high] = _turn(
        slab[low + before - start:high + before - start, *rest])
    scratch.release(result)
  return result


def labels_of(probs: np.ndarray) -> np.ndarray:
  """Returns the most probable class of each voxel, uint8 [X, Y, Z].

  Args:
    probs: probabilities, float [X, Y, Z, K]; they may lie on the disk.
  """
  labels = np.empty(probs.shape[:-1], np.uint8, order='F')
  resampling.restore_labels(probs, labels)
  return labels


def predict_record(
    run_fn: Callable[[np.ndarray], inference.Prediction],
    record: volume_set.Record,
    plan: planning.Plan,
    *,
    batch_size: int,
) -> np.ndarray:
  """Returns probabilities of a volume, float32 [X, Y, Z, K].

  They lie on the disk if they are large.

  Args:
    run_fn: maps windows [batch_size, *plan.patch_size, 1] to a prediction.
    record: the volume.
    plan: plan of the set.
    batch_size: number of windows per call.
  """
  return predict(
      run_fn, functools.partial(record.read, 'image'), record.volume.shape,
      window=plan.patch_size, batch_size=batch_size)[..., :-1]


def reader(array: np.ndarray) -> Read:
  """Returns a function that reads blocks of levels, see `predict`.

  Args:
    array: levels, uint16 [X, Y, Z].
  """

  def read(start, size):
    block = np.zeros((*size, 1), np.float32)
    inside = [slice(max(0, a), max(0, min(n, a + s)))
              for a, s, n in zip(start, size, array.shape, strict=True)]
    place = tuple(slice(part.start - a, part.stop - a)
                  for part, a in zip(inside, start, strict=True))
    block[place] = array[tuple(inside)][..., None] / np.float32(levels_lib.TOP)
    scratch.release(array)
    return block

  return read


def levels_of(
    volume: volume_type.Volume,
    statistics: levels_lib.Statistics,
    plan: planning.Plan,
    *,
    folder: str | None = None,
) -> np.ndarray:
  """Returns the levels of a volume on the grid of a plan, uint16 [X, Y, Z].

  Args:
    volume: the volume, whose voxels may be lazy.
    statistics: its statistics.
    plan: plan of the training set.
    folder: as for `empty`.
  """
  shape, image = volume_records.image_of(volume, statistics, plan)
  array = empty(shape, np.uint16, folder=folder)
  for start, stop in levels_lib.slabs(shape):
    array[:, :, start:stop] = image(start, stop)
    scratch.release(array)
  return array
