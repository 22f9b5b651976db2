"""States what predicting a large volume takes, before and while it runs."""

from collections.abc import Sequence
import math
import resource
import sys
import time

from data_prep.shared import progress
from hybridseg import volume_inference
import jax
import jax.numpy as jnp
import numpy as np

from experiments.prediction import predictor as predictor_lib
from experiments.prediction import volume_windows

_STATED_S = 10.0  # Shorter predictions state nothing.
_GIB = 2**30
# Memory of the steps before and after the networks, which work on slabs.
_SLABS_BYTES = 3 * 2**27
# Pages of arrays on the disk that are in use at the same time.
_PAGES_BYTES = 2**28
# Processor time of everything but the networks.
_S_PER_VOXEL = 7e-7
# A guess at the speed of 3-D convolutions, as a share of that of a product of
# matrices. It is not measured; the first windows correct the stated time.
_SHARE = 0.3
_SIDE = 1024  # Of these matrices.


class Statement:
  """States memory, disk and time of one prediction, and its progress."""

  def __init__(
      self,
      predictor: predictor_lib.Predictor,
      name: str,
      shape: Sequence[int],
      *,
      overlap: float,
      file_bytes: int,
      result_bytes: Sequence[int],
  ):
    """Prints the first line, if the prediction is expected to take long.

    Args:
      predictor: networks of a run on whole volumes.
      name: name of the file, for messages.
      shape: voxels of the volume on the grid of the plan.
      overlap: overlap of the windows.
      file_bytes: size of the file's voxels, which may be decompressed.
      result_bytes: size of each result on the grid of the file.
    """
    window, batch = predictor.dataset.plan.patch_size, predictor.batch_size
    padded = [max(n, w) for n, w in zip(shape, window, strict=True)]
    channels = len(predictor.dataset.classes) + 1
    self._name, self._batch = name, batch
    self._number = volume_inference.count_windows(
        padded, window, overlap=overlap)
    cost = predictor.cost_fn((batch, *window, 1))
    self._calls = -(-self._number // batch)
    self._others_s = _S_PER_VOXEL * math.prod(padded)
    voxels = math.prod(shape)
    arrays = [2 * voxels, 4 * channels * voxels, *result_bytes]
    on_disk = [size for size in arrays if size > volume_windows.IN_MEMORY]
    in_memory = sum(arrays) - sum(on_disk) + bool(on_disk) * _PAGES_BYTES
    sums = 4 * (channels + 1) * padded[0] * padded[1] * window[2]
    is_on_host = jax.default_backend() == 'cpu'
    batch_bytes = 4 * (3 * channels + 1) * batch * math.prod(window)
    memory = _resident() + in_memory + max(
        _SLABS_BYTES, sums + 2**27 + batch_bytes + is_on_host * cost.num_bytes)
    self._needs = (
        f'{name}: {" x ".join(map(str, shape))} voxels in '
        f'{self._number} windows; up to {memory / _GIB:.1f} GiB of memory'
        + ('' if is_on_host else
           f' and {cost.num_bytes / _GIB:.1f} GiB on the device')
        + f', {(sum(on_disk) + file_bytes) / _GIB:.1f} GiB of disk')
    self._is_stated = False
    flops = self._calls * cost.flops
    # No processor is slower than this; measuring takes a moment.
    if flops / 1e9 + self._others_s > _STATED_S:
      self._state(flops / (_SHARE * _matrix_speed()) + self._others_s)
    self._start = time.perf_counter()
    self._told: progress.Progress | None = None

  def _state(self, seconds):
    if seconds < _STATED_S:
      return
    print(f'{self._needs}, about {progress.minutes(seconds)}', flush=True)
    self._is_stated = True

  def __call__(self, number: int) -> None:
    """Reports that a number of windows are predicted."""
    if self._told is not None:
      self._told(number)
      return
    seconds = self._others_s + self._calls * (
        time.perf_counter() - self._start)
    if self._is_stated:
      print(f'{self._name}: about {progress.minutes(seconds)} by the first '
            f'{"batch" if self._batch > 1 else "window"}', flush=True)
    else:
      self._state(seconds)
    self._told = progress.Progress(
        self._number, 'windows', what=f'{self._name}: ', before=number,
        file=sys.stdout)


def _resident():
  """Returns the memory that this process has now, in bytes."""
  try:
    with open('/proc/self/statm', encoding='ascii') as file:
      return int(file.read().split()[1]) * resource.getpagesize()
  except OSError:  # Not on Linux: the most that it ever had.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def _matrix_speed():
  """Returns how many floating-point operations a second a product reaches."""
  matrix = jnp.asarray(np.ones((_SIDE, _SIDE), np.float32))
  product = jax.jit(jnp.matmul)
  product(matrix, matrix).block_until_ready()
  seconds = []
  for _ in range(3):
    start = time.perf_counter()
    product(matrix, matrix).block_until_ready()
    seconds.append(time.perf_counter() - start)
  return 2 * _SIDE**3 / min(seconds)
