"""Tests for hybridseg.models.group_norm."""

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import group_norm

from tests import long_only


def _inputs(shape, *, mean=0.0, seed=0):
  rng = np.random.default_rng(seed)
  normal = lambda *size: jnp.asarray(rng.normal(size=size), jnp.float32)
  return mean + normal(*shape), 1 + 0.1 * normal(shape[-1]), normal(shape[-1])


def _of_flax(x, scale, bias, *, num_groups):
  return nn.GroupNorm(num_groups, use_fast_variance=False).apply(
      {'params': {'scale': scale, 'bias': bias}}, x)


class GroupNormTest(parameterized.TestCase):

  def test_two_channels_of_one_group(self):
    x = jnp.array([[[[1.0, 3.0]], [[5.0, 7.0]]]])  # Mean 4, variance 5.
    y = group_norm.group_norm(
        x, jnp.array([1.0, 2.0]), jnp.array([0.0, 1.0]), num_groups=1)
    np.testing.assert_allclose(
        y.ravel() * np.sqrt(5), [-3, -2 + np.sqrt(5), 1, 6 + np.sqrt(5)],
        rtol=1e-5)

  @parameterized.parameters(*long_only.first_of((
      ((2, 5, 4, 8), 2), ((2, 3, 4, 2, 6), 1), ((2, 5, 4, 8), 1),
      ((2, 3, 4, 2, 6), 2)), 2))
  def test_values_and_derivatives_are_those_of_flax(self, shape, num_groups):
    args = _inputs(shape)
    tangents = _inputs(shape, seed=1)
    weights = _inputs(shape, seed=2)[0]
    mine, theirs = (
        lambda *a, f=f: f(*a, num_groups=num_groups)
        for f in (group_norm.group_norm, _of_flax))
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    for a, b in zip(jax.jvp(mine, args, tangents),
                    jax.jvp(theirs, args, tangents), strict=True):
      close(a, b)
    grad = lambda f: jax.grad(
        lambda *a: jnp.sum(weights * f(*a) ** 2), (0, 1, 2))
    jax.tree.map(close, grad(mine)(*args), grad(theirs)(*args))
    # The gradient through a gradient, as the lookahead needs it.
    slope = lambda f: lambda *a: sum(
        jnp.vdot(g, t) for g, t in zip(grad(f)(*a), tangents, strict=True))
    for a, b in zip(jax.grad(slope(mine), (0, 1, 2))(*args),
                    jax.grad(slope(theirs), (0, 1, 2))(*args), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)

  def test_mean_far_from_zero(self):
    x, scale, bias = _inputs((1, 16, 16, 8), mean=1e4)
    exact = np.asarray(x, np.float64)
    exact -= exact.mean((1, 2), keepdims=True)
    exact /= np.sqrt(np.square(exact).mean((1, 2), keepdims=True) + 1e-6)
    y = group_norm.group_norm(x, scale, bias, num_groups=8)
    # A float32 of about 1e4 has a resolution of 1e-3.
    np.testing.assert_allclose(
        y, exact * np.asarray(scale) + np.asarray(bias), atol=2e-3)

  def test_float64_stays_float64(self):
    with jax.enable_x64(True):
      x, scale, bias = (jnp.asarray(a, jnp.float64) for a in _inputs(
          (1, 4, 4, 8)))
      y = group_norm.group_norm(x, scale, bias, num_groups=8)
      self.assertEqual(y.dtype, jnp.float64)
      np.testing.assert_allclose(
          y, _of_flax(x, scale, bias, num_groups=8), rtol=1e-10)

  def test_instances_do_not_depend_on_each_other(self):
    x, scale, bias = _inputs((3, 4, 4, 8))
    norm = lambda x: group_norm.group_norm(x, scale, bias, num_groups=4)
    np.testing.assert_allclose(norm(x)[1:2], norm(x[1:2]), rtol=1e-6)

  def test_layer_has_the_parameters_of_flax(self):
    x = jnp.zeros((1, 4, 4, 8), jnp.bfloat16)
    layer = group_norm.GroupNorm(4, dtype=jnp.bfloat16)
    y, params = layer.init_with_output(jax.random.key(0), x)
    expected = nn.GroupNorm(4).init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
    self.assertEqual(y.dtype, jnp.bfloat16)

  def test_groups_that_do_not_divide_the_channels_are_refused(self):
    with self.assertRaisesRegex(ValueError, '6 channels .* 4 groups'):
      group_norm.group_norm(*_inputs((1, 2, 2, 6)), num_groups=4)


if __name__ == '__main__':
  absltest.main()
