"""Tests for hybridseg.models.depthwise."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
from jax import export
import jax.numpy as jnp
import numpy as np

from hybridseg.models import depthwise
from tests import conv_derivatives


def _naive(x, kernel, stride):
  """The sum of the docstring, in loops; padding as TensorFlow's 'SAME'."""
  batch, height, width, channels = x.shape
  size = kernel.shape[0]
  rows, columns = -(-height // stride), -(-width // stride)
  top = max((rows - 1) * stride + size - height, 0) // 2
  left = max((columns - 1) * stride + size - width, 0) // 2
  y = np.zeros((batch, rows, columns, channels))
  for i in range(rows):
    for j in range(columns):
      for u in range(size):
        for v in range(size):
          r, c = i * stride + u - top, j * stride + v - left
          if 0 <= r < height and 0 <= c < width:
            y[:, i, j] += x[:, r, c] * kernel[u, v]
  return y


def _data(height, width, size, batch=2, channels=3):
  rng = np.random.default_rng(0)
  return (rng.normal(size=(batch, height, width, channels)).astype(np.float32),
          rng.normal(size=(size, size, channels)).astype(np.float32))


class DepthwiseConvTest(parameterized.TestCase):

  def test_hand_computed_stride_2_pads_at_the_end(self):
    x = jnp.arange(1.0, 17).reshape(1, 4, 4, 1)
    y = depthwise.depthwise_conv(x, jnp.ones((3, 3, 1)), stride=2)
    # With stride 2 and an even size, the windows cover rows and columns 0 .. 2
    # and 2 .. 3. No padding comes before the first row or column.
    np.testing.assert_array_equal(y[0, ..., 0], [[54, 45], [72, 54]])

  @parameterized.product(
      size=((8, 8), (5, 7), (3, 2)), width=(3, 5), stride=(1, 2))
  def test_equals_loops(self, size, width, stride):
    x, kernel = _data(*size, width)
    np.testing.assert_allclose(
        depthwise.depthwise_conv(x, kernel, stride=stride),
        _naive(x, kernel, stride), atol=1e-5)

  @parameterized.product(width=(3, 5), stride=(1, 2))
  def test_all_derivatives_equal_those_of_the_grouped_convolution(
      self, width, stride):
    x, kernel = _data(6, 5, width)
    ours, theirs = (
        jax.jit(functools.partial(conv_derivatives.all_of, conv))(x, kernel)
        for conv in (
            functools.partial(depthwise.depthwise_conv, stride=stride),
            functools.partial(depthwise._grouped_conv, stride=stride)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3),
        ours, theirs)

  def test_large_batches_are_summed_in_pieces(self):
    x, kernel = _data(4, 4, 3, batch=34)
    grad = jax.grad(lambda k: jnp.sum(
        depthwise.depthwise_conv(jnp.asarray(x), k)))(kernel)
    each = [jax.grad(lambda k, n=n: jnp.sum(depthwise.depthwise_conv(
        jnp.asarray(x[n : n + 1]), k)))(kernel) for n in (0, 33)]
    total = _kernel_sums(x)
    np.testing.assert_allclose(grad, total, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(each[1], _kernel_sums(x[33:]), atol=1e-4)

  @parameterized.parameters(('cuda', 1), ('tpu', 3), ('cpu', 0))
  def test_the_platform_it_is_lowered_for_decides(self, platform, number):
    x, kernel = _data(6, 6, 3)
    loss = lambda x, k: jnp.sum(depthwise.depthwise_conv(x, k, stride=2) ** 2)
    text = export.export(
        jax.jit(jax.value_and_grad(loss, (0, 1))), platforms=[platform])(
            x, kernel).mlir_module()
    self.assertEqual(text.count('stablehlo.convolution'), number)

  def test_as_grouped_is_the_same_by_operations_of_jax_alone(self):
    x, kernel = _data(6, 5, 3)
    conv = lambda: depthwise.depthwise_conv(x, kernel, stride=2)
    expected = conv()
    with depthwise.as_grouped():
      text = str(jax.make_jaxpr(lambda: conv())())
      np.testing.assert_allclose(conv(), expected, atol=1e-5)
    self.assertNotIn('hybridseg', text)
    self.assertIn('hybridseg', str(jax.make_jaxpr(lambda: conv())()))

  @parameterized.parameters(
      ((2, 4, 4, 3), (3, 3, 2), jnp.float32, 'does not fit'),
      ((4, 4, 3), (3, 3, 3), jnp.float32, 'does not fit'),
      ((2, 4, 4, 3), (3, 5, 3), jnp.float32, 'does not fit'),
      ((2, 4, 4, 3), (3, 3, 3), jnp.bfloat16, 'cast one'))
  def test_what_does_not_fit_is_refused(self, shape, kernel, dtype, message):
    with self.assertRaisesRegex(ValueError, message):
      depthwise.depthwise_conv(jnp.zeros(shape), jnp.zeros(kernel, dtype))


def _kernel_sums(x):
  """Computes the gradient of the summed output by the kernel.

  It is the sum of x over all pixels that each tap reads.
  """
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  rows, columns = x.shape[1:3]
  return np.array([[padded[:, u : u + rows, v : v + columns].sum((0, 1, 2))
                    for v in range(3)] for u in range(3)])


if __name__ == '__main__':
  absltest.main()
