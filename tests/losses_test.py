"""Tests for hybridseg.losses; loss_contract_test has the common tests."""

import functools
import itertools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import losses
from hybridseg import types

_LOSSES = (
    losses.cross_entropy_loss,
    losses.balanced_cross_entropy_loss,
    losses.soft_dice_loss,
    losses.cross_entropy_dice_loss,
)
_LOG3 = np.log(3.0)
# Scores of two classes, in one place for the hand-computed numbers: softmax of
# [0, log 3] is [1/4, 3/4], so the cross entropy of class 0 is log 4 and that of
# class 1 is log(4/3).
_CE0, _CE1 = np.log(4.0), np.log(4.0 / 3.0)


def _one_instance(classes):
  """Returns logits [0, log 3] per pixel, targets and mask of one image, [1, P].
  """
  labels, where = losses.one_hot_labels(jnp.array([classes], jnp.uint8), 2)
  logits = jnp.tile(jnp.array([0.0, _LOG3]), (1, len(classes), 1))
  return logits, labels, where


def _random(seed, shape=(2, 4, 4), num_classes=3, unlabelled=True):
  """Returns random logits, targets and mask; a third is unlabelled."""
  rng = np.random.default_rng(seed)
  label_map = rng.integers(num_classes, size=shape)
  if unlabelled:
    label_map[rng.random(shape) < 0.3] = types.UNLABELLED
  logits = rng.normal(size=shape + (num_classes,)).astype(np.float32)
  return jnp.array(logits), *losses.one_hot_labels(
      jnp.array(label_map, jnp.uint8), num_classes
  )


class OneHotLabelsTest(absltest.TestCase):

  def test_hand_computed(self):
    labels, where = losses.one_hot_labels(
        jnp.array([[0, 2, types.UNLABELLED]], jnp.uint8), 3
    )
    np.testing.assert_array_equal(
        labels, [[[1, 0, 0], [0, 0, 1], [0, 0, 0]]]
    )
    np.testing.assert_array_equal(where, [[True, True, False]])
    self.assertEqual(labels.dtype, jnp.float32)
    self.assertEqual(where.dtype, jnp.bool_)


  def test_a_number_that_an_int32_does_not_hold_is_no_class(self):
    label_map = np.array([[2**32 + 1, 1, 255]])
    labels, where = losses.one_hot_labels(label_map, 2)
    np.testing.assert_array_equal(
        labels, [[[np.nan, np.nan], [0, 1], [0, 0]]])
    np.testing.assert_array_equal(where, [[True, True, False]])

  def test_a_class_that_there_is_not_is_nan(self):
    # If the labels were all zero, the loss would treat the pixel as always
    # right.
    labels, where = losses.one_hot_labels(jnp.array([[2, -1], [0, 255]]), 2)
    np.testing.assert_array_equal(
        labels, [[[np.nan] * 2] * 2, [[1, 0], [0, 0]]])
    np.testing.assert_array_equal(where, [[True, True], [True, False]])
    loss = losses.cross_entropy_loss(jnp.zeros((2, 2, 2)), labels, where=where)
    np.testing.assert_allclose(loss, [np.nan, np.log(2)], rtol=1e-6)

  def test_refuses_a_map_that_cannot_hold_255(self):
    with self.assertRaisesRegex(ValueError, 'int8, in which 255.* uint8'):
      losses.one_hot_labels(jnp.array([[-1, 1]], jnp.int8), 2)
    with self.assertRaisesRegex(ValueError, 'float32: it must hold whole'):
      losses.one_hot_labels(jnp.array([[0.0, 1.0]]), 2)
    labels, _ = losses.one_hot_labels(jnp.array([[False, True]]), 2)
    np.testing.assert_array_equal(labels, [[[1, 0], [0, 1]]])


class HandComputedTest(absltest.TestCase):

  def test_cross_entropy(self):
    logits, labels, where = _one_instance([0, 1, 1])
    np.testing.assert_allclose(
        losses.cross_entropy_loss(logits, labels, where=where),
        [(_CE0 + 2 * _CE1) / 3], rtol=1e-6)

  def test_partial_cross_entropy_ignores_255(self):
    logits, labels, where = _one_instance([0, 1, types.UNLABELLED])
    np.testing.assert_allclose(
        losses.cross_entropy_loss(logits, labels, where=where),
        [(_CE0 + _CE1) / 2], rtol=1e-6)
    gradient = jax.grad(
        lambda x: losses.cross_entropy_loss(x, labels, where=where)[0]
    )(logits)
    # The gradient is (softmax - target) / 2 at the two labelled pixels, and 0
    # at the third.
    np.testing.assert_allclose(
        gradient[0], [[-3 / 8, 3 / 8], [1 / 8, -1 / 8], [0, 0]], rtol=1e-6)

  def test_balanced_cross_entropy(self):
    # First take the mean for each class, 2 * CE0 / 2 and CE1, then the mean of
    # both. The number of pixels of a class does not matter.
    logits, labels, where = _one_instance([0, 0, 1])
    np.testing.assert_allclose(
        losses.balanced_cross_entropy_loss(logits, labels, where=where),
        [(_CE0 + _CE1) / 2], rtol=1e-6)

  def test_balanced_cross_entropy_skips_absent_classes(self):
    logits, labels, where = _one_instance([0, 0, types.UNLABELLED])
    np.testing.assert_allclose(
        losses.balanced_cross_entropy_loss(logits, labels, where=where),
        [_CE0], rtol=1e-6)

  def test_soft_dice(self):
    # The probabilities are 1/2 everywhere. For each class, the overlap is 1/2,
    # both sizes are 1, and epsilon is 1, so the loss is 1 - (1 + 1) / (2 + 1).
    labels, where = losses.one_hot_labels(jnp.array([[0, 1]]), 2)
    logits = jnp.zeros((1, 2, 2))
    np.testing.assert_allclose(
        losses.soft_dice_loss(logits, labels, where=where), [1 / 3], rtol=1e-6)
    np.testing.assert_allclose(
        losses.soft_dice_loss(logits, labels, where=where, epsilon=0.0),
        [1 / 2], rtol=1e-6)

  def test_soft_dice_of_the_right_answer_is_0(self):
    # Class 2 occurs in neither map: (0 + 1) / (0 + 1) = 1, so it adds no loss.
    labels, _ = losses.one_hot_labels(jnp.array([[0, 1, 1]]), 3)
    np.testing.assert_allclose(
        losses.soft_dice_loss(100 * labels, labels), [0], atol=1e-6)

  def test_cross_entropy_dice_is_the_sum(self):
    logits, labels, where = _random(0)
    np.testing.assert_allclose(
        losses.cross_entropy_dice_loss(logits, labels, where=where),
        losses.cross_entropy_loss(logits, labels, where=where)
        + losses.soft_dice_loss(logits, labels, where=where), rtol=1e-6)


class WithoutClassPriorTest(parameterized.TestCase):

  def test_gradient_hand_computed(self):
    # The mean slope of the class's two labelled pixels, (1 + 3) / 2 = 2, is
    # removed.
    where = jnp.array([[True, True, False]])
    slopes = jnp.array([1.0, 3.0, 7.0])
    gradient = jax.grad(
        lambda x: jnp.vdot(
            slopes, losses.without_class_prior(x, where=where)[0, :, 0])
    )(jnp.zeros((1, 3, 1)))
    np.testing.assert_allclose(gradient[0, :, 0], [-1, 1, 0], atol=1e-7)

  def test_one_pixel_has_no_slope(self):
    gradient = jax.grad(lambda x: jnp.sum(losses.without_class_prior(
        x, where=jnp.array([[True, False]]))))(jnp.zeros((1, 2, 3)))
    np.testing.assert_array_equal(gradient, jnp.zeros((1, 2, 3)))

  @parameterized.parameters(1, 1e3)
  def test_values_of_counted_pixels_are_unchanged(self, offset):
    logits, _, where = _random(5)
    logits = logits + offset
    np.testing.assert_array_equal(
        losses.without_class_prior(logits, where=where)[where], logits[where])
    np.testing.assert_array_equal(
        losses.without_class_prior(logits, where=where)[~where], 0)
    np.testing.assert_array_equal(losses.without_class_prior(logits), logits)

  @parameterized.parameters(*itertools.product(_LOSSES, (True, False)))
  def test_a_constant_shift_has_no_slope(self, loss, masked):
    logits, labels, where = _random(6, unlabelled=masked)
    where = where if masked else None
    loss = functools.partial(loss, labels=labels, where=where)
    wrapped = lambda x: loss(losses.without_class_prior(x, where=where))
    # Add any constant per instance and class.
    shift = jnp.broadcast_to(
        jax.random.normal(jax.random.key(0), (2, 1, 1, 3)), logits.shape)
    value, slope = jax.jvp(wrapped, (logits,), (shift,))
    plain_value, plain_slope = jax.jvp(loss, (logits,), (shift,))
    np.testing.assert_allclose(value, plain_value, rtol=1e-6)
    np.testing.assert_allclose(slope, [0, 0], atol=1e-6)
    self.assertGreater(np.abs(plain_slope).min(), 1e-4)

  @parameterized.parameters(*_LOSSES)
  def test_gradient_is_the_plain_one_without_its_mean(self, loss):
    logits, labels, where = _random(7)
    loss = functools.partial(loss, labels=labels, where=where)
    total = lambda x: jnp.sum(loss(x))
    plain = jax.grad(total)(logits)
    wrapped = jax.grad(
        lambda x: total(losses.without_class_prior(x, where=where)))(logits)
    count = jnp.sum(where, (1, 2), keepdims=True)[..., None]
    mean = jnp.sum(plain, (1, 2), keepdims=True) / count
    np.testing.assert_allclose(
        wrapped, jnp.where(where[..., None], plain - mean, 0), atol=1e-7)

  def test_masked_nan_stays_out(self):
    logits, labels, where = _random(8)
    spoiled = jnp.where(where[..., None], logits, np.nan)
    loss = lambda x: jnp.sum(
        losses.cross_entropy_loss(
            losses.without_class_prior(x, where=where), labels, where=where))
    np.testing.assert_array_equal(
        jax.grad(loss)(spoiled), jax.grad(loss)(logits))


if __name__ == '__main__':
  absltest.main()
