"""Max-pooling whose gradient is fast on CPUs, too.

XLA computes the gradient of a maximum over windows by scattering, for which it
finds the position of every maximum again. For windows that do not overlap, a
comparison of whole feature maps does the same. Measurements are in
`experiments/results/speed.md`.
"""

from collections.abc import Sequence
import functools
import itertools

import jax
import jax.numpy as jnp


def max_pool(x: jax.Array, strides: Sequence[int]) -> jax.Array:
  """Takes the maximum of windows that do not overlap, such as 2 x 2 pixels.

  Where several pixels share the maximum, the first of them, in row-major order,
  has the gradient, as with `flax.linen.max_pool`.

  Args:
    x: float [B, H, W, C] or [B, D, H, W, C], with sizes that are multiples of
      the strides.
    strides: size of the windows along each spatial axis, 2 pixels, or 1 to
      leave an axis as it is.

  Returns:
    Features, float [B, H / s_0, W / s_1, C], or the same in 3-D.
  """
  return _max_pool(x, tuple(strides))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _max_pool(x, strides):
  return _maximum(_pixels(_windows(x, strides)))


@_max_pool.defjvp
def _max_pool_jvp(strides, primals, tangents):
  (x,), (dx,) = primals, tangents
  pixels = _pixels(_windows(x, strides))
  y = _maximum(pixels)
  is_first, is_found = [], jnp.zeros(y.shape, bool)
  for pixel in pixels[:-1]:
    is_largest = pixel == y
    is_first.append(is_largest & ~is_found)
    is_found |= is_largest
  is_first.append(~is_found)
  mask = _stacked(is_first, strides)
  axes = tuple(range(2, 2 * (x.ndim - 1), 2))
  return y, jnp.sum(jnp.where(mask, _windows(dx, strides), 0), axes)


def _windows(x, strides):
  """Splits features [B, H, W, C] into windows [B, H / s, s, W / t, t, C]."""
  shape = [x.shape[0]]
  for size, stride in zip(x.shape[1:-1], strides, strict=True):
    shape += [size // stride, stride]
  return x.reshape(*shape, x.shape[-1])


def _pixels(windows):
  """Returns the pixels of all windows as a list, in row-major order."""
  sizes = windows.shape[2:-1:2]
  full = slice(None)
  return [
      windows[(full, *itertools.chain(*((full, i) for i in index)))]
      for index in itertools.product(*map(range, sizes))]


def _stacked(pixels, strides):
  """Returns windows made of the given pixels: the inverse of `_pixels`."""
  for axis, stride in reversed(list(enumerate(strides, 2))):
    pixels = [jnp.stack(pixels[i : i + stride], axis)
              for i in range(0, len(pixels), stride)]
  return pixels[0]


def _maximum(pixels):
  while len(pixels) > 1:
    pixels = [jnp.maximum(*two)
              for two in zip(pixels[::2], pixels[1::2], strict=True)]
  return pixels[0]
