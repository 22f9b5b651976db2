"""Max-pooling whose gradient is fast on CPUs, too.

XLA computes the gradient of a maximum over windows by scattering, for which it
finds the position of every maximum again. For windows that do not overlap, a
comparison of whole feature maps does the same. Measurements are in
`experiments/results/speed.md`.
"""

import itertools

import jax
import jax.numpy as jnp


@jax.custom_jvp
def max_pool_2(x: jax.Array) -> jax.Array:
  """Takes the maximum of every 2 x 2 or 2 x 2 x 2 pixels.

  Where several pixels share the maximum, the first of them, in row-major order,
  has the gradient, as with `flax.linen.max_pool`.

  Args:
    x: float [B, H, W, C] or [B, D, H, W, C], with even sizes.

  Returns:
    Features, float [B, H / 2, W / 2, C] or [B, D / 2, H / 2, W / 2, C].
  """
  return _maximum(_pixels(_windows(x)))


@max_pool_2.defjvp
def _max_pool_2_jvp(primals, tangents):
  (x,), (dx,) = primals, tangents
  pixels = _pixels(_windows(x))
  y = _maximum(pixels)
  is_first, is_found = [], jnp.zeros(y.shape, bool)
  for pixel in pixels[:-1]:
    is_largest = pixel == y
    is_first.append(is_largest & ~is_found)
    is_found |= is_largest
  is_first.append(~is_found)
  mask = _stacked(is_first, x.ndim - 2)
  axes = tuple(range(2, 2 * (x.ndim - 1), 2))
  return y, jnp.sum(jnp.where(mask, _windows(dx), 0), axes)


def _windows(x):
  """Splits features [B, H, W, C] into windows [B, H / 2, 2, W / 2, 2, C]."""
  shape = [x.shape[0]]
  for size in x.shape[1:-1]:
    shape += [size // 2, 2]
  return x.reshape(*shape, x.shape[-1])


def _pixels(windows):
  """Returns the pixels of all windows as a list, in row-major order."""
  num_axes = windows.ndim // 2 - 1
  full = slice(None)
  return [
      windows[(full, *itertools.chain(*((full, i) for i in index)))]
      for index in itertools.product(range(2), repeat=num_axes)]


def _stacked(pixels, num_axes):
  """Returns windows made of the given pixels: the inverse of `_pixels`."""
  for axis in reversed(range(2, num_axes + 2)):
    pixels = [jnp.stack(two, axis)
              for two in zip(pixels[::2], pixels[1::2], strict=True)]
  return pixels[0]


def _maximum(pixels):
  while len(pixels) > 1:
    pixels = [jnp.maximum(*two)
              for two in zip(pixels[::2], pixels[1::2], strict=True)]
  return pixels[0]
