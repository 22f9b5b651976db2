"""Tests for hybridseg.models.volume_conv."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
import jax
from jax import export
import jax.numpy as jnp
import numpy as np

from hybridseg.models import volume_conv
from tests import conv_derivatives


def _naive(x, kernel):
  """The sum of the docstring, in loops."""
  sizes = kernel.shape[:3]
  padded = np.pad(x, ((0, 0), *((n // 2, n // 2) for n in sizes), (0, 0)))
  depth, height, width = x.shape[1:4]
  y = np.zeros((*x.shape[:4], kernel.shape[-1]))
  for u, v, w in np.ndindex(*sizes):
    y += padded[:, u : u + depth, v : v + height, w : w + width] @ (
        kernel[u, v, w])
  return y


def _data(shape, sizes, channels=2, features=3):
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return draw(2, *shape, channels), draw(*sizes, channels, features)


class VolumeConvTest(parameterized.TestCase):

  @parameterized.product(
      shape=((4, 5, 6), (1, 3, 2)),
      sizes=((3, 3, 3), (1, 3, 3), (3, 1, 5), (1, 1, 1)))
  def test_equals_loops(self, shape, sizes):
    x, kernel = _data(shape, sizes)
    np.testing.assert_allclose(
        volume_conv.volume_conv(x, kernel), _naive(x, kernel), atol=1e-5)

  @parameterized.parameters((3, 3, 3), (1, 3, 3))
  def test_all_derivatives_equal_those_of_the_3d_convolution(self, *sizes):
    x, kernel = _data((3, 4, 2), sizes)
    ours, theirs = (
        jax.jit(functools.partial(conv_derivatives.all_of, conv))(x, kernel)
        for conv in (volume_conv.volume_conv, volume_conv._by_volumes))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3),
        ours, theirs)

  def test_the_layer_is_that_of_flax(self):
    x, _ = _data((4, 4, 4), (3, 3, 3))

    class Net(nn.Module):
      ours: bool

      @nn.compact
      def __call__(self, x):
        if self.ours:
          return volume_conv.Conv(3, (1, 3, 3), jnp.float32)(x)
        return nn.Conv(3, (1, 3, 3), use_bias=False)(x)

    (y, params), (expected, theirs) = (
        Net(ours).init_with_output(jax.random.key(0), x)
        for ours in (True, False))
    jax.tree.map(np.testing.assert_array_equal, params, theirs)
    np.testing.assert_allclose(y, expected, atol=1e-5)

  @parameterized.parameters(('cuda', 5), ('tpu', 5), ('cpu', 4))
  def test_the_platform_it_is_lowered_for_decides(self, platform, rank):
    x, kernel = _data((4, 4, 4), (3, 3, 3))
    loss = lambda x, k: jnp.sum(volume_conv.volume_conv(x, k) ** 2)
    text = export.export(
        jax.jit(jax.value_and_grad(loss, (0, 1))), platforms=[platform])(
            x, kernel).mlir_module()
    lines = [l for l in text.splitlines() if 'stablehlo.convolution' in l]
    self.assertLen(lines, 3)
    for line in lines:
      result = line.rsplit('tensor<', 1)[1].split('>')[0]
      self.assertLen(result.split('x')[:-1], rank)

  @parameterized.parameters(
      ((2, 4, 4, 4, 3), (3, 3, 3, 2, 1), jnp.float32, 'does not fit'),
      ((2, 4, 4, 3), (3, 3, 3, 1), jnp.float32, 'does not fit'),
      ((2, 4, 4, 4, 3), (3, 2, 3, 3, 1), jnp.float32, 'odd'),
      ((2, 4, 4, 4, 3), (3, 3, 3, 3, 1), jnp.bfloat16, 'cast one'))
  def test_what_does_not_fit_is_refused(self, shape, kernel, dtype, message):
    with self.assertRaisesRegex(ValueError, message):
      volume_conv.volume_conv(jnp.zeros(shape), jnp.zeros(kernel, dtype))


if __name__ == '__main__':
  absltest.main()
