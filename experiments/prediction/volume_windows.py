"""Predicts volumes in windows, and keeps on the disk what is large."""

from collections.abc import Callable, Sequence
import functools
from typing import Any

from data_prep.records import volume_records
from data_prep.shared import scratch
from data_prep.shared import volume_type
from data_prep.volumes import levels as levels_lib
from data_prep.volumes import planning
from hybridseg import inference
from hybridseg import volume_inference
import jax.numpy as jnp
import numpy as np

from experiments.building import volume_set

_IN_MEMORY = 2**28  # Largest size of an array in memory, in bytes.

# Reads a block of a volume, from its first voxel and its size along each axis.
Read = Callable[[Sequence[int], Sequence[int]], np.ndarray]


def empty(
    shape: Sequence[int], dtype: Any, *, folder: str | None = None
) -> np.ndarray:
  """Returns an array of zeros, which lies on the disk if it is large.

  Args:
    shape: shape of the array.
    dtype: type of the array.
    folder: folder on whose disk it lies; None means the system's folder for
      temporary files. The file has no name, and vanishes with the array.

  Raises:
    OSError: if the disk is full.
  """
  size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
  if size <= _IN_MEMORY:
    return np.zeros(shape, dtype)
  return scratch.make_array(shape, dtype, folder)


class _Padded:
  """A volume that is at least as large as a window, as in training.

  Attributes:
    shape: its shape, with one channel.
    start: its first voxel; 0, or less where the volume is smaller.
  """

  def __init__(self, read, shape, window):
    self._read = read
    self.shape = (*map(max, shape, window), 1)
    self.start = volume_set.first_start(shape, window).tolist()

  def __getitem__(self, block):
    size = [min(part.stop, n) - part.start for part, n in zip(
        block, self.shape, strict=False)]
    return self._read([part.start + first for part, first in zip(
        block, self.start, strict=True)], size)


def predict(
    run_fn: Callable[[np.ndarray], inference.Prediction],
    read: Read,
    shape: Sequence[int],
    *,
    window: Sequence[int],
    batch_size: int,
    overlap: float = 0.5,
    folder: str | None = None,
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

  Returns:
    Probabilities and, as the last channel, the disagreement of the networks,
    float32 [*shape, K + 1].
  """

  def run(windows):
    found = run_fn(windows)
    return jnp.concatenate(
        [found.probabilities, found.disagreement[..., None]], -1)

  padded = _Padded(read, shape, window)
  before, result = -padded.start[0], None
  rest = tuple(slice(-first, n - first) for first, n in zip(
      padded.start[1:], shape[1:], strict=True))
  for start, slab in volume_inference.sliding_slabs(
      run, padded, window=window, overlap=overlap, batch_size=batch_size):
    if result is None:
      result = empty((*shape, slab.shape[-1]), np.float32, folder=folder)
    low, high = (min(max(n - before, 0), shape[0])
                 for n in (start, start + len(slab)))
    result[low:high] = slab[low + before - start:high + before - start, *rest]
  return result


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
  return array
