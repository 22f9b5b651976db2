"""Predicts volumes of any size in overlapping windows, slab by slab.

Given the prediction step of one or more networks for windows:

  predict = jax.jit(inference.make_predict_step(
      apply_fn, image_fn=to_float, flips=inference.ALL_VOLUME_FLIPS))
  predict_fn = lambda windows: predict(params, windows).probabilities
  probabilities = sliding_window_volume(predict_fn, volume, window=(32, 96, 96))

The result of a large volume does not fit into memory, but its labels may:

  for start, slab in sliding_slabs(predict_fn, volume, window=(32, 96, 96)):
    labels[start : start + len(slab)] = slab.argmax(-1)
"""

from collections.abc import Callable, Iterator, Sequence
import itertools
import math
from typing import Any

import numpy as np

from hybridseg import inference

# MONAI raises the weights to this number. Without it, the corners of a window
# would weigh as little as exp(-24), and all that counts there is rounding.
_MIN_WEIGHT = np.float32(1e-3)
_PIECE_NUMBERS = 2**24  # Largest number of outputs that are yielded at once.


def sliding_window_volume(
    predict_fn: Callable[[np.ndarray], Any],
    volume: Any,
    *,
    window: Sequence[int],
    overlap: float = 0.5,
    batch_size: int = 1,
) -> np.ndarray:
  """Predicts a volume of any size in overlapping windows.

  Args:
    predict_fn: as for `sliding_slabs`.
    volume: as for `sliding_slabs`.
    window: as for `sliding_slabs`.
    overlap: as for `sliding_slabs`.
    batch_size: as for `sliding_slabs`.

  Returns:
    Merged outputs, float32 [D, H, W, K].

  Raises:
    ValueError: see `sliding_slabs`.
  """
  slabs = sliding_slabs(
      predict_fn, volume, window=window, overlap=overlap, batch_size=batch_size)
  _, first = next(slabs)
  result = np.empty((volume.shape[0], *first.shape[1:]), np.float32)
  for start, slab in itertools.chain([(0, first)], slabs):
    result[start : start + len(slab)] = slab
  return result


def sliding_slabs(
    predict_fn: Callable[[np.ndarray], Any],
    volume: Any,
    *,
    window: Sequence[int],
    overlap: float = 0.5,
    batch_size: int = 1,
) -> Iterator[tuple[int, np.ndarray]]:
  """Predicts a volume in overlapping windows, and yields it slab by slab.

  Where windows overlap, the result is the mean of their outputs. Each output is
  weighted as `inference.window_weights` says, but by 0.001 or more. Windows and
  weights are those of MONAI's `sliding_window_inference` with mode 'gaussian',
  sigma_scale 0.125 and padding_mode 'replicate': windows begin at multiples of
  the step, the last one ends at the end of the axis, and a volume smaller than
  a window repeats its edge on both sides.

  No more than a slab as thick as a window is in memory, as float32, beside
  the piece of it that is yielded (64 MiB, or one slice). The next batch is
  predicted while the last one is added. The batch size does not change the
  result.

  Args:
    predict_fn: maps windows [batch_size, *window, C], of the dtype of the
      volume, to outputs [batch_size, *window, K], for example probabilities.
      Several outputs, such as probabilities and their disagreement, can be
      joined along the last axis.
    volume: [D, H, W, C], an array, a memory map, or any object with `shape`
      whose slices are arrays.
    window: depth, height and width of a window: the size of the volumes that
      the network was trained on.
    overlap: share of a window that its neighbour also covers, in [0, 1).
    batch_size: number of windows per call; copies of the last window fill up
      the last call.

  Yields:
    The first slice of each slab, from the first slab to the last, and its
    merged outputs, float32 [d, H, W, K].

  Raises:
    ValueError: if the volume is not [D, H, W, C], or if the window, the overlap
      or the batch size is invalid.
  """
  _check(volume, window, overlap, batch_size)
  size = volume.shape[:3]
  starts = [_starts(n, w, overlap) for n, w in zip(size, window, strict=True)]
  # The first voxel of a padded volume, which may lie outside of the volume.
  first = [-(max(0, w - n) // 2) for n, w in zip(size, window, strict=True)]
  weight = np.maximum(inference.window_weights(window), _MIN_WEIGHT)[..., None]
  total: Any = None
  weights: Any = None
  front = 0  # First slice of the padded volume that is in `total`.

  def finished(stop):
    """Yields the slabs up to a slice of the padded volume."""
    keep = tuple(slice(-f, n - f) for f, n in zip(first[1:], size[1:],
                                                  strict=True))
    stop = min(stop, size[0] - first[0])
    thick = max(1, _PIECE_NUMBERS // total[0].size)
    for low in range(max(front, -first[0]), stop, thick):
      rows = slice(low - front, min(low + thick, stop) - front)
      yield low + first[0], total[rows, *keep] / weights[rows, *keep]

  corners = list(itertools.product(*starts))
  for corner, output in _outputs(
      predict_fn, volume, corners, window, first, batch_size):
    if total is None:
      plane = [max(n, w) for n, w in zip(size[1:], window[1:], strict=True)]
      total = np.zeros((window[0], *plane, output.shape[-1]), np.float32)
      weights = np.zeros((window[0], *plane, 1), np.float32)
    if corner[0] > front:
      yield from finished(corner[0])
      _advance(total, corner[0] - front)
      _advance(weights, corner[0] - front)
      front = corner[0]
    place = tuple(slice(c, c + w) for c, w in zip(
        (0, *corner[1:]), window, strict=True))
    total[place] += weight * output
    weights[place] += weight
  yield from finished(front + window[0])


def count_windows(
    shape: Sequence[int], window: Sequence[int], *, overlap: float = 0.5
) -> int:
  """Returns the number of windows in which `sliding_slabs` predicts a volume.

  Args:
    shape: depth, height and width of the volume.
    window: as for `sliding_slabs`.
    overlap: as for `sliding_slabs`.
  """
  return math.prod(
      len(_starts(n, w, overlap)) for n, w in zip(shape, window, strict=True))


def _check(volume, window, overlap, batch_size):
  if len(volume.shape) != 4 or not all(volume.shape):
    raise ValueError(
        f'The volume has shape {tuple(volume.shape)}: it must be [D, H, W, C].')
  if len(window) != 3 or min(window) < 1:
    raise ValueError(f'{window=}: use three positive numbers of voxels.')
  if not 0 <= overlap < 1:
    raise ValueError(f'overlap is {overlap}: use 0 <= overlap < 1.')
  if batch_size < 1:
    raise ValueError(f'{batch_size=}: use a positive number.')


def _starts(length, window, overlap):
  """Returns the starts of the windows along an axis."""
  step = max(1, int(window * (1 - overlap)))
  last = max(0, length - window)
  return [*range(0, last, step), last]


def _outputs(predict_fn, volume, corners, window, first, batch_size):
  """Yields the corner and the output of each window, one batch ahead."""
  waiting = None
  for i in range(0, len(corners), batch_size):
    batch = corners[i : i + batch_size]
    windows = [_cut(volume, corner, window, first) for corner in batch]
    windows += windows[-1:] * (batch_size - len(batch))
    found = batch, predict_fn(np.stack(windows))
    if waiting:
      yield from zip(waiting[0], np.asarray(waiting[1]), strict=False)
    waiting = found
  yield from zip(waiting[0], np.asarray(waiting[1]), strict=False)


def _cut(volume, corner, window, first):
  """Returns a window of a volume, whose edge is repeated outside."""
  low = [c + f for c, f in zip(corner, first, strict=True)]
  inside = tuple(slice(max(0, a), a + w) for a, w in zip(
      low, window, strict=True))
  cut = np.asarray(volume[inside])
  before = [max(0, -a) for a in low]
  pad = [(b, w - n - b) for b, w, n in zip(
      before, window, cut.shape, strict=False)]
  return np.pad(cut, [*pad, (0, 0)], mode='edge')


def _advance(buffer, number):
  """Removes the first slices of a buffer, and appends as many of zeros."""
  kept = max(0, len(buffer) - number)
  for k in range(kept):  # All at once would copy the buffer.
    buffer[k] = buffer[len(buffer) - kept + k]
  buffer[kept:] = 0
