"""Tests for hybridseg.models.torch_arrays."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from hybridseg.models import torch_arrays

_NORM = {
    'bn.weight': np.float32([2, 1]), 'bn.bias': np.float32([1, 0]),
    'bn.running_mean': np.float32([3, 0]),
    'bn.running_var': np.float32([15, 0])}


def _batch_norm(**changes):
  state = _NORM | {f'bn.{part}': x for part, x in changes.items()}
  return torch_arrays.batch_norm(
      state, 'bn', 2, epsilon=1.0, network='a network')


class TakeTest(parameterized.TestCase):

  @parameterized.parameters(np.float16, np.float32, np.float64, jnp.bfloat16)
  def test_any_floating_point_type(self, dtype):
    found = torch_arrays.take(
        {'a': np.array([1, 2.5], dtype)}, 'a', (2,), network='a network')
    self.assertEqual(found.dtype, np.float64)
    np.testing.assert_array_equal(found, [1, 2.5])

  @parameterized.parameters(
      (np.zeros(3), r"'a' has shape \(3,\); in a network it has \(2,\)"),
      (np.zeros(2, complex), "'a' is of complex128; weights are floating"),
      (np.zeros(2, int), "'a' is of int64"),
      (np.zeros(2, bool), "'a' is of bool"),
      (np.array(['x', 'y']), "'a' is of <U1"),
      (np.array([None, None]), "'a' is of object"),
      (np.array([0, np.nan]), "'a' holds a nan"),
      (np.array([0, -np.inf]), "'a' holds a nan, an inf"),
      (np.array([0, 1e300]), "'a' holds .* too large for float32"))
  def test_refuses(self, value, message):
    with self.assertRaisesRegex(ValueError, message):
      torch_arrays.take({'a': value}, 'a', (2,), network='a network')
    with self.assertRaisesRegex(ValueError, "no 'b', which a network has"):
      torch_arrays.take({'a': value}, 'b', (2,), network='a network')


class BatchNormTest(parameterized.TestCase):

  def test_by_hand(self):
    # The first channel is 2 (x - 3) / sqrt(15 + 1) + 1.
    scale, bias = _batch_norm()
    np.testing.assert_array_equal(scale, [0.5, 1])
    np.testing.assert_array_equal(bias, [-0.5, 0])

  @parameterized.parameters(
      (dict(running_var=np.float32([1, -0.5])),
       "'bn.running_var' holds -0.5, but a variance is never negative"),
      (dict(running_var=np.float32([1, -3])), "'bn.running_var' holds -3"),
      (dict(running_mean=np.float32([3e38, 0]), weight=np.float32([9, 1])),
       "'bn.running_mean' holds .* too large"),
      (dict(running_var=np.float32([1])), r"'bn.running_var' has shape \(1,\)"))
  def test_refuses(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      _batch_norm(**changes)

  def test_a_kernel_that_becomes_too_large(self):
    with self.assertRaisesRegex(ValueError, "'a.weight' holds"):
      torch_arrays.to_float32(np.array([1e39]), 'a.weight')


if __name__ == '__main__':
  absltest.main()
