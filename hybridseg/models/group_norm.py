"""GroupNorm that reads the features as few times as possible.

Memory, not arithmetic, limits a normalisation on a CPU. So this module writes
its derivative in such a form that all sums over pixels are sums per channel,
and that the gradient of the features and those of the parameters share the two
that they need. Measurements are in `experiments/results/speed.md`.
"""

import functools

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp

_EPSILON = 1e-6


class GroupNorm(nn.Module):
  """Normalises groups of channels of each instance.

  Wu and He, 2018 (https://arxiv.org/abs/1803.08494): see `group_norm`. The
  parameters have the names and the shapes of `flax.linen.GroupNorm`.

  Attributes:
    num_groups: number of groups, a divisor of the number of channels.
    dtype: dtype of the result; the statistics are float32, or float64 if the
      features are.
  """

  num_groups: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x):
    shape = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape, jnp.float32)
    bias = self.param('bias', nn.initializers.zeros, shape, jnp.float32)
    return group_norm(
        x, scale, bias, num_groups=self.num_groups).astype(self.dtype)


def group_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, *, num_groups: int
) -> jax.Array:
  """Normalises groups of neighbouring channels to mean 0 and variance 1.

    y = scale (x - m) / sqrt(v + 1e-6) + bias

  with the mean m and the variance v over all pixels and channels of a group, of
  one instance. The variance is the mean square of x - m, so that it is accurate
  where the mean is far from 0.

  Args:
    x: float [B, ..., F].
    scale: float32 [F].
    bias: float32 [F].
    num_groups: number of groups, a divisor of F.

  Returns:
    Normalised features, [B, ..., F], float64 if x is, and otherwise float32.

  Raises:
    ValueError: if `num_groups` does not divide F.
  """
  if x.shape[-1] % num_groups:
    raise ValueError(
        f'{x.shape[-1]} channels cannot be split into {num_groups} groups.')
  dtype = jnp.promote_types(x.dtype, jnp.float32)
  flat = x.astype(dtype).reshape(x.shape[0], -1, x.shape[-1])
  scale, bias = (p.astype(dtype).reshape(1, 1, -1) for p in (scale, bias))
  return _normalize(flat, scale, bias, num_groups).reshape(x.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _normalize(x, scale, bias, num_groups):
  """Normalises x, [B, P, F], over its P pixels; parameters are [1, 1, F]."""
  centred, rate = _centred(x, num_groups)
  return centred * (rate * scale) + bias


@_normalize.defjvp
def _normalize_jvp(num_groups, primals, tangents):
  (x, scale, bias), (dx, dscale, dbias) = primals, tangents
  centred, rate = _centred(x, num_groups)
  gain = rate * scale
  mean = _group_mean(jnp.mean(dx, 1, keepdims=True), num_groups)
  slope = rate**2 * _group_mean(
      jnp.mean(dx * centred, 1, keepdims=True), num_groups)
  # Collect what is constant over the pixels: the transposes of these two
  # products are the only sums over pixels in the gradient.
  constant = dbias - gain * mean
  factor = rate * dscale - gain * slope
  return centred * gain + bias, gain * dx + constant + centred * factor


def _centred(x, num_groups):
  """Returns x - m, [B, P, F], and 1 / sqrt(v + 1e-6), [B, 1, F]."""
  centred = x - _group_mean(jnp.mean(x, 1, keepdims=True), num_groups)
  variance = _group_mean(
      jnp.mean(lax.square(centred), 1, keepdims=True), num_groups)
  return centred, lax.rsqrt(variance + _EPSILON)


def _group_mean(x, num_groups):
  """Replaces every channel of x, [B, 1, F], by the mean of its group."""
  if num_groups == x.shape[-1]:
    return x
  groups = x.reshape(*x.shape[:2], num_groups, -1)
  mean = jnp.mean(groups, -1, keepdims=True)
  return jnp.broadcast_to(mean, groups.shape).reshape(x.shape)
