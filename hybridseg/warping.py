"""Samples images and label maps at given positions, in 2-D and 3-D.

`augmentation` and `volume_augmentation` draw the positions. A position is given
as one array for each spatial axis, in pixels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from hybridseg import types

_BLUR_RADIUS = 4  # In pixels: twice the largest standard deviation.


def read_nearest(x: jax.Array, index: Sequence[jax.Array]) -> jax.Array:
  """Reads an image or label map at integer positions, repeating its edge.

  Args:
    x: array with the spatial axes first, [H, W, ...] or [D, H, W, ...].
    index: positions, int32 of one shape S, one array for each spatial axis.

  Returns:
    What `x` holds there, [*S, ...].
  """
  return x[tuple(
      jnp.clip(i, 0, n - 1) for i, n in zip(index, x.shape, strict=False))]


def warp_image(image: jax.Array, source: Sequence[jax.Array]) -> jax.Array:
  """Interpolates linearly along each axis; repeats the edge outside.

  Args:
    image: float [H, W, C] or [D, H, W, C].
    source: positions, float32 of one shape S, one array for each spatial axis.

  Returns:
    Intensities, float [*S, C].
  """
  low = [jnp.floor(s) for s in source]
  shares = [(s - l)[..., None] for s, l in zip(source, low, strict=True)]
  low = [l.astype(jnp.int32) for l in low]

  def read(index, axis):
    if axis == len(source):
      return read_nearest(image, index)
    before = read([*index, low[axis]], axis + 1)
    after = read([*index, low[axis] + 1], axis + 1)
    return (1 - shares[axis]) * before + shares[axis] * after

  return read([], 0)


def warp_label(label: jax.Array, source: Sequence[jax.Array]) -> jax.Array:
  """Reads the nearest pixels of a label map; unlabelled ones lie outside.

  Args:
    label: uint8 [H, W] or [D, H, W].
    source: as for `warp_image`.

  Returns:
    Classes, uint8 of shape S.
  """
  index = [jnp.round(s).astype(jnp.int32) for s in source]
  inside = jnp.ones(source[0].shape, bool)
  for i, n in zip(index, label.shape, strict=True):
    inside &= (i >= 0) & (i < n)
  return jnp.where(inside, read_nearest(label, index), types.UNLABELLED)


def blur(image: jax.Array, sigma: jax.Array, *, axis: int) -> jax.Array:
  """Blurs an image along one axis by a Gaussian, repeating its edge.

  Args:
    image: float, of any shape.
    sigma: standard deviation in pixels, float32 [], up to 2.
    axis: the axis.

  Returns:
    The blurred image, of the same shape.
  """
  offsets = jnp.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=jnp.float32)
  kernel = jnp.exp(-0.5 * jnp.square(offsets / jnp.maximum(sigma, 1e-3)))
  kernel = kernel / jnp.sum(kernel)
  widths = [(0, 0)] * image.ndim
  widths[axis] = (_BLUR_RADIUS, _BLUR_RADIUS)
  padded, size = jnp.pad(image, widths, mode='edge'), image.shape[axis]
  # Slices: reading rows by their numbers takes seven times as long on a CPU.
  return sum(k * jax.lax.slice_in_dim(padded, i, i + size, axis=axis)
             for i, k in enumerate(kernel))
