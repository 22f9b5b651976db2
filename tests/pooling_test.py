"""Tests for hybridseg.models.pooling."""

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import pooling


def _flax_max_pool(x, strides):
  return nn.max_pool(x, strides, strides)


class MaxPoolTest(parameterized.TestCase):

  def test_the_first_of_several_maxima_has_the_gradient(self):
    x = jnp.array([[1.0, 3.0, 0.0, 0.0], [3.0, 2.0, 0.0, 0.0]])[None, ..., None]
    y, pull_back = jax.vjp(lambda x: pooling.max_pool(x, (2, 2)), x)
    np.testing.assert_array_equal(y[0, :, :, 0], [[3, 0]])
    (grad,) = pull_back(jnp.array([5.0, 7.0]).reshape(y.shape))
    np.testing.assert_array_equal(
        grad[0, :, :, 0], [[0, 5, 7, 0], [0, 0, 0, 0]])

  @parameterized.parameters(
      ((2, 6, 4, 3), (2, 2)), ((1, 4, 2, 6, 2), (2, 2, 2)),
      ((2, 3, 4, 2), (1, 2)), ((1, 3, 4, 2, 2), (1, 2, 2)),
      ((1, 3, 5, 2), (1, 1)))
  def test_values_and_gradients_are_those_of_flax_bit_for_bit(
      self, shape, strides):
    rng = np.random.default_rng(0)
    # There are only three different values, so many windows have several
    # maxima.
    x = jnp.asarray(rng.integers(0, 3, shape), jnp.float32)
    pools = [lambda x, fn=fn: fn(x, strides)
             for fn in (pooling.max_pool, _flax_max_pool)]
    weights = jnp.asarray(rng.normal(size=pools[1](x).shape), jnp.float32)
    for fn in (lambda pool, x: pool(x),
               lambda pool, x: jax.grad(
                   lambda x: jnp.sum(weights * pool(x) ** 2))(x),
               jax.vmap(lambda pool, x: pool(x[None])[0], (None, 0))):
      np.testing.assert_array_equal(*(fn(pool, x) for pool in pools))

  def test_second_derivative(self):
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 4, 4, 2)))
    loss = lambda pool, x: jnp.sum(pool(x, (2, 2)) ** 3)
    hessians = [jax.hessian(loss, 1)(pool, x)
                for pool in (pooling.max_pool, _flax_max_pool)]
    np.testing.assert_allclose(*hessians)

  def test_nan_is_kept(self):
    x = jnp.zeros((1, 2, 2, 1)).at[0, 1, 0, 0].set(jnp.nan)
    self.assertTrue(jnp.isnan(pooling.max_pool(x, (2, 2))).all())


if __name__ == '__main__':
  absltest.main()
