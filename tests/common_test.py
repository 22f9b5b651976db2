"""One contract for every loss and one for every weighting rule."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import co_regularization
from hybridseg import indicators
from hybridseg import losses
from hybridseg import types
from hybridseg import weighting


def _cross_pseudo(logits, labels, *, where=None):
  """The labels in the part of the teacher, the mask in that of the trust."""
  if where is not None:
    logits = jnp.where(where[..., None], logits, 0)
    where = where.astype(logits.dtype)
  return co_regularization.cross_pseudo_losses(
      logits, labels, pixel_weights=where)


def _consistency(logits, labels, *, where=None):
  """The same of `consistency_losses`."""
  if where is not None:
    logits = jnp.where(where[..., None], logits, 0)
    where = where.astype(logits.dtype)
  return co_regularization.consistency_losses(
      logits, labels, pixel_weights=where)


# Each: (logits [B, ..., K], one-hot labels [B, ..., K], where=[B, ...]) -> [B].
_LOSSES = {
    'cross_entropy': losses.cross_entropy_loss,
    'balanced_cross_entropy': losses.balanced_cross_entropy_loss,
    'soft_dice': losses.soft_dice_loss,
    'cross_entropy_dice': losses.cross_entropy_dice_loss,
    'cross_entropy_without_prior': losses.prior_free(losses.cross_entropy_loss),
    'soft_dice_without_prior': losses.prior_free(losses.soft_dice_loss),
    'cross_pseudo': _cross_pseudo,
    'consistency': _consistency,
}


def _update_and_gather(slopes, *, axis_name=None):
  """One step of the indicators of a batch, from the middle of [0, 1]."""
  shard = 0 if axis_name is None else jax.lax.axis_index(axis_name)
  ids = shard * slopes.size + jnp.arange(slopes.size)
  state = indicators.init_indicators(_BATCH, value=0.5)
  state = indicators.update_indicators(
      state, ids, slopes, learning_rate=0.1, axis_name=axis_name)
  return indicators.gather_indicators(state, ids)


_BATCH = 8
# Each: (slopes of the strong loss [B], axis_name=) -> values [B].
_WEIGHTINGS = {
    'l2rw_weights': weighting.l2rw_weights,
    'unit_rms': weighting.unit_rms,
    'indicators': _update_and_gather,
}


def _data(shape=(3, 4, 5), num_classes=3):
  rng = np.random.default_rng(0)
  label_map = rng.integers(num_classes, size=shape)
  label_map[rng.random(shape) < 0.3] = types.UNLABELLED
  logits = rng.normal(size=shape + (num_classes,)).astype(np.float32)
  return jnp.asarray(logits), *losses.one_hot_labels(
      jnp.asarray(label_map), num_classes)


class LossContractTest(parameterized.TestCase):

  @parameterized.product(
      name=tuple(_LOSSES), shape=((1, 6), (2, 2, 3, 4)))
  def test_one_value_per_instance_jit_and_vmap(self, name, shape):
    loss, (logits, labels, where) = _LOSSES[name], _data(shape)
    call = jax.jit(lambda x, y, m: loss(x, y, where=m))
    values = call(logits, labels, where)
    self.assertEqual(values.shape, shape[:1])
    self.assertEqual(values.dtype, jnp.float32)
    self.assertGreaterEqual(values.min(), 0)
    np.testing.assert_allclose(
        loss(logits, labels, where=where), values, rtol=1e-6)
    # A further axis in front, and instances one at a time.
    one_by_one = jax.vmap(call)(*(x[:, None] for x in (logits, labels, where)))
    np.testing.assert_allclose(one_by_one[:, 0], values, rtol=1e-6)

  @parameterized.parameters(*_LOSSES)
  def test_mask_and_finite_gradient(self, name):
    loss, (logits, labels, where) = _LOSSES[name], _data()
    where = where.at[1].set(False)  # One instance without any pixel.
    spoiled = jnp.where(where[..., None], logits, np.nan)
    call = lambda x: jnp.sum(loss(x, labels, where=where))
    values = loss(spoiled, labels, where=where)
    np.testing.assert_array_equal(values, loss(logits, labels, where=where))
    self.assertEqual(values[1], 0)
    gradient = jax.grad(call)(spoiled)
    self.assertTrue(np.isfinite(gradient).all())
    np.testing.assert_array_equal(gradient[~where], 0)
    self.assertGreater(np.abs(gradient).max(), 1e-4)

  @parameterized.parameters(*_LOSSES)
  def test_extreme_logits_have_finite_gradients(self, name):
    loss, (logits, labels, where) = _LOSSES[name], _data()
    value, gradient = jax.value_and_grad(
        lambda x: jnp.sum(loss(x, labels, where=where)))(1e4 * logits)
    self.assertTrue(np.isfinite(value))
    self.assertTrue(np.isfinite(gradient).all())

  @parameterized.parameters(*_LOSSES)
  def test_shape_errors_name_both_shapes(self, name):
    loss, (logits, labels, where) = _LOSSES[name], _data()
    with self.assertRaisesRegex(ValueError, r'\(3, 4, 5, 3\).*\(3, 4, 5, 2\)'):
      loss(logits, labels[..., :2], where=where)

  @parameterized.parameters(*(
      n for n in _LOSSES if n not in ('cross_pseudo', 'consistency')))
  def test_mask_of_another_shape(self, name):
    _, (logits, labels, where) = _LOSSES[name], _data()
    with self.assertRaisesRegex(ValueError, r'\(3, 4, 4\).*\(3, 4, 5'):
      _LOSSES[name](logits, labels, where=where[..., :4])


class WeightingContractTest(parameterized.TestCase):

  def _slopes(self):
    return jax.random.normal(jax.random.key(0), (_BATCH,))

  @parameterized.parameters(*_WEIGHTINGS)
  def test_jit_vmap_and_dtype(self, name):
    rule, slopes = _WEIGHTINGS[name], self._slopes()
    values = rule(slopes)
    self.assertEqual(values.shape, (_BATCH,))
    self.assertEqual(values.dtype, jnp.float32)
    np.testing.assert_allclose(jax.jit(rule)(slopes), values, rtol=1e-6)
    np.testing.assert_allclose(
        jax.vmap(rule)(jnp.stack([slopes, -slopes])),
        jnp.stack([values, rule(-slopes)]), rtol=1e-6)

  @parameterized.parameters(*_WEIGHTINGS)
  def test_order_of_the_batch_does_not_matter(self, name):
    rule, slopes = _WEIGHTINGS[name], self._slopes()
    np.testing.assert_allclose(
        rule(slopes[::-1]), rule(slopes)[::-1], rtol=1e-6)

  @parameterized.parameters(*_WEIGHTINGS)
  def test_no_slope_is_finite(self, name):
    values = _WEIGHTINGS[name](jnp.zeros(_BATCH))
    self.assertTrue(np.isfinite(values).all())
    self.assertEqual(np.ptp(values), 0)  # Nothing tells the instances apart.

  @parameterized.product(name=tuple(_WEIGHTINGS), num_shards=(1, 2, 4))
  def test_shards_equal_single(self, name, num_shards):
    rule, slopes = _WEIGHTINGS[name], self._slopes()
    sharded = jax.vmap(
        functools.partial(rule, axis_name='batch'), axis_name='batch'
    )(slopes.reshape(num_shards, -1))
    np.testing.assert_allclose(sharded.reshape(-1), rule(slopes), rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
