"""Prediction with mean probabilities, test-time flips and sliding windows.

Given the `apply_fn` of a network and one or more parameter sets:

  predict = jax.jit(make_predict_step(apply_fn, image_fn=to_float))
  probabilities, disagreement = predict(params, images)
  labels = jnp.argmax(probabilities, axis=-1)

For an image larger than those that the network was trained on:

  predict_fn = lambda tiles: predict(params, tiles).probabilities
  probabilities = sliding_window(predict_fn, image, window=(96, 96))
"""

from collections.abc import Callable, Sequence
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import masking
from hybridseg import types

# A flip is a tuple of those axes of [B, H, W, ...] that are reversed, or of
# [B, D, H, W, ...] for volumes.
NO_FLIPS = ((),)
ALL_FLIPS = ((), (1,), (2,), (1, 2))
ALL_VOLUME_FLIPS = tuple(
    axes for number in range(4)
    for axes in itertools.combinations((1, 2, 3), number))


class Prediction(NamedTuple):
  """Prediction of one or more networks for a batch.

  Attributes:
    probabilities: mean over networks and flips, float32 [B, H, W, K].
    disagreement: how far the networks are apart, see the function
      `disagreement`, float32 [B, H, W] in [0, 1].
  """

  probabilities: jax.Array
  disagreement: jax.Array


def mean_probabilities(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    params: Sequence[types.Params],
    images: jax.Array,
) -> jax.Array:
  """Returns the mean of the networks' softmax, at least float32 [B, H, W, K].

  Args:
    apply_fn: maps params and float images to logits [B, H, W, K].
    params: one or more parameter sets.
    images: float [B, H, W, C].
  """
  softmax = lambda p: jax.nn.softmax(masking.widen(apply_fn(p, images)))
  return jnp.mean(jnp.stack([softmax(p) for p in params]), axis=0)


def disagreement(probabilities: Sequence[jax.Array]) -> jax.Array:
  """Measures how far the probabilities of the networks are apart.

  The total variation distance of each network n to the mean m of all N networks
  is 1/2 sum_c |p_n(c) - m(c)|. The disagreement is the sum of these N distances
  divided by N - 1. It is 1 if each network is sure of a different class. For
  two networks, the disagreement is 1/2 sum_c |p_0(c) - p_1(c)|.

  Args:
    probabilities: one array per network, float [..., K].

  Returns:
    Disagreement in [0, 1], at least float32 [...]; 0 for a single network.
  """
  number = len(probabilities)
  if number == 1:
    return jnp.zeros(probabilities[0].shape[:-1])
  stacked = jnp.stack([masking.widen(x) for x in probabilities])
  apart = 0.5 * jnp.abs(
      stacked - jnp.mean(stacked, axis=0, keepdims=True)).sum(-1)
  return jnp.sum(apart, axis=0) / (number - 1)


def make_predict_step(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    *,
    image_fn: Callable[[jax.Array], jax.Array] = lambda x: x,
    flips: Sequence[tuple[int, ...]] = NO_FLIPS,
) -> Callable[[Sequence[types.Params], jax.Array], Prediction]:
  """Assembles the function `(params, images) -> Prediction`.

  Args:
    apply_fn: maps params and float images to logits [B, H, W, K].
    image_fn: maps stored images, uint8, to the input of the network.
    flips: `NO_FLIPS`, `ALL_FLIPS`, `ALL_VOLUME_FLIPS` or your own choice. For
      each flip, the networks see the images with the axes of the flip reversed.
      The probabilities are reversed back, and then averaged over all flips.

  Returns:
    A pure function of one or more parameter sets and images [B, H, W, C], not
    jitted.

  Raises:
    ValueError: if `flips` is empty; ((),) leaves the images as they are.
  """
  if not flips:
    raise ValueError('flips is empty: give ((),) for the image as it is.')

  def predict(params, images):
    images = image_fn(images)
    by_network = [
        sum(jnp.flip(mean_probabilities(apply_fn, [p], jnp.flip(images, axes)),
                     axes) for axes in flips) / len(flips)
        for p in params
    ]
    return Prediction(
        sum(by_network) / len(by_network), disagreement(by_network))

  return predict


def window_starts(length: int, window: int, overlap: float) -> list[int]:
  """Returns the starts of windows that are spread evenly along an axis.

  The first window starts at 0 and the last one ends at the end of the axis. If
  the axis is as long as a window or shorter, there is one window, at 0.

  Args:
    length: length of the axis.
    window: length of a window.
    overlap: smallest share of a window that its neighbour also covers.

  Raises:
    ValueError: if `overlap` is not in [0, 1) or `window` is not positive.
  """
  if not 0 <= overlap < 1:
    raise ValueError(f'overlap is {overlap}: use 0 <= overlap < 1.')
  if window < 1:
    raise ValueError(f'window is {window}: use a positive number.')
  if length <= window:
    return [0]
  step = max(1, int(window * (1 - overlap)))
  number = -(-(length - window) // step) + 1
  return [round(i * (length - window) / (number - 1)) for i in range(number)]


def window_tiles(
    image: np.ndarray, *, window: tuple[int, int], overlap: float = 0.5
) -> list[np.ndarray]:
  """Cuts an image into overlapping windows, from the top row to the bottom row.

  Args:
    image: [H, W, C]; if it is smaller than a window, its edge is repeated below
      and on the right.
    window: height and width of a window.
    overlap: see `window_starts`.

  Returns:
    Tiles of shape [*window, C].

  Raises:
    ValueError: if the image is not [H, W, C].
  """
  if image.ndim != 3:
    raise ValueError(
        f'The image has shape {image.shape}: it must be [H, W, C]. For volumes '
        'use volume_inference.sliding_window_volume.')
  pad = [(0, max(0, w - n))
         for w, n in zip(window, image.shape[:2], strict=True)]
  padded = np.pad(image, pad + [(0, 0)], mode='edge')
  return [padded[y : y + window[0], x : x + window[1]]
          for y, x in _corners(image.shape[:2], window, overlap)]


def merge_tiles(
    tiles: Sequence[np.ndarray],
    size: tuple[int, int],
    *,
    overlap: float = 0.5,
) -> np.ndarray:
  """Merges the tiles of an image, with a weighted mean where they overlap.

  Each tile is weighted as `window_weights` says. A single tile is returned
  unchanged, cropped to the size of the image.

  Args:
    tiles: float [h, w, ...] each, in the order of `window_tiles`.
    size: height and width of the image.
    overlap: as for `window_tiles`.

  Returns:
    float32 [H, W, ...].

  Raises:
    ValueError: if the number of tiles is not the number of windows that cover
      an image of this size.
  """
  window = tiles[0].shape[:2]
  corners = _corners(size, window, overlap)
  if len(tiles) != len(corners):
    raise ValueError(f'Expected {len(corners)} tiles, got {len(tiles)}.')
  if len(tiles) == 1:
    return np.asarray(tiles[0])[: size[0], : size[1]]
  rest = tiles[0].shape[2:]
  weight = window_weights(window)
  weight = weight.reshape(*window, *(1 for _ in rest))
  full = tuple(max(n, w) for n, w in zip(size, window, strict=True))
  total = np.zeros((*full, *rest), np.float32)
  weights = np.zeros((*full, *(1 for _ in rest)), np.float32)
  for tile, (y, x) in zip(tiles, corners, strict=True):
    total[y : y + window[0], x : x + window[1]] += weight * tile
    weights[y : y + window[0], x : x + window[1]] += weight
  return (total / weights)[: size[0], : size[1]]


def sliding_window(
    predict_fn: Callable[[np.ndarray], Any],
    image: np.ndarray,
    *,
    window: tuple[int, int],
    overlap: float = 0.5,
    batch_size: int = 8,
) -> np.ndarray:
  """Predicts an image of any size in overlapping windows.

  Args:
    predict_fn: maps tiles [batch_size, *window, C] to [batch_size, *window,
      ...], for example probabilities.
    image: [H, W, C].
    window: height and width of the images that the network was trained on.
    overlap: smallest share of a window that its neighbour also covers.
    batch_size: number of tiles per call; copies of the last tile fill up the
      last call.

  Returns:
    Merged outputs, float32 [H, W, ...]; see `merge_tiles`.
  """
  tiles = window_tiles(image, window=window, overlap=overlap)
  outputs = []
  for start in range(0, len(tiles), batch_size):
    batch = tiles[start : start + batch_size]
    filled = batch + [batch[-1]] * (batch_size - len(batch))
    outputs += list(np.asarray(predict_fn(np.stack(filled)))[: len(batch)])
  return merge_tiles(outputs, image.shape[:2], overlap=overlap)


def _corners(size, window, overlap):
  return list(itertools.product(*(
      window_starts(n, w, overlap) for n, w in zip(size, window, strict=True))))


def window_weights(window: Sequence[int]) -> np.ndarray:
  """Returns a Gaussian around the middle of a window, float32 of its shape.

  Its standard deviation along each axis is 1/8 of the window's side: Isensee et
  al., 2021 (nnU-Net, https://doi.org/10.1038/s41592-020-01008-z).

  Args:
    window: number of pixels or voxels along each axis.
  """
  bells = [
      np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2
             ).astype(np.float32) for n in window]
  return functools.reduce(np.multiply.outer, bells)
