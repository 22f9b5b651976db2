"""Tests for hybridseg.models.layers."""

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import layers


class _Upsampled(nn.Module):
  repeats: bool

  @nn.compact
  def __call__(self, x):
    if not self.repeats:
      return layers.upsampled_conv(x, 2, dtype=jnp.float32)
    for axis in range(1, x.ndim - 1):
      x = jnp.repeat(x, 2, axis=axis)
    return layers.conv(x, 2, 3, dtype=jnp.float32)


class UpsampledConvTest(parameterized.TestCase):

  def test_pixels_are_repeated_along_strided_axes_only(self):
    x = jnp.arange(4.0).reshape(1, 2, 1, 2, 1)
    y = layers.repeat_pixels(x, strides=(1, 2, 2))
    self.assertEqual(y.shape, (1, 2, 2, 4, 1))
    np.testing.assert_array_equal(y[0, 0, 1, :, 0], [0, 0, 1, 1])
    np.testing.assert_array_equal(y[0, 1, 0, :, 0], [2, 2, 3, 3])

  def test_by_hand(self):
    x = jnp.array([1.0, 10.0]).reshape(1, 1, 2, 1)
    # The kernel takes the left neighbour, once, and the right one, twice.
    kernel = jnp.zeros((3, 3, 1, 2)).at[1, :, 0, 0].set(
        jnp.array([1.0, 0.0, 2.0]))
    y = _Upsampled(False).apply({'params': {'Conv_0': {'kernel': kernel}}}, x)
    self.assertEqual(y.shape, (1, 2, 4, 2))
    np.testing.assert_allclose(y[0, 0, :, 0], [2, 21, 21, 10])
    np.testing.assert_allclose(y[0, 1, :, 0], [2, 21, 21, 10])

  @parameterized.parameters(
      ((2, 3, 4, 3),), ((1, 2, 2, 65),), ((1, 2, 3, 2, 3),))
  def test_it_is_the_convolution_of_repeated_pixels(self, shape):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    params = _Upsampled(True).init(jax.random.key(0), x)
    jax.tree.map(
        np.testing.assert_array_equal, params,
        _Upsampled(False).init(jax.random.key(0), x))
    results = []
    for repeats in (True, False):
      apply = lambda p, x, r=repeats: _Upsampled(r).apply(p, x)
      loss = lambda p, x, f=apply: jnp.sum(jnp.sin(f(p, x)))
      results.append((apply(params, x), jax.grad(loss, (0, 1))(params, x)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        *results)


if __name__ == '__main__':
  absltest.main()
