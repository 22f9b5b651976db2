"""Tests the training step on volumes: network, augmentation, CutMix, DII."""

import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import losses
from hybridseg import models
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import volume_augmentation
from hybridseg import weak_losses
from hybridseg import weighting as weighting_lib
from tests import long_only
from tests import tiny_step as tiny

_SIZE = (2, 4, 4)
_MODEL = models.build('unet', num_classes=tiny.NUM_CLASSES, options=dict(
    features=(2, 4), strides=[[1, 2, 2]], kernels=[[1, 3, 3], [3, 3, 3]]))
_augment = functools.partial(
    volume_augmentation.augment_volumes, spacing=(5.0, 1.0, 1.0),
    options=volume_augmentation.VolumeAugmentationOptions())


def _init(key):
  shapes = jax.eval_shape(
      _MODEL.init, jax.random.key(0), jnp.zeros((1, *_SIZE, 1)))['params']
  rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
  return jax.tree.map(
      lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype), shapes)


def _apply(params, images):
  return _MODEL.apply({'params': params}, images)


def _weak_loss(logits, labels, *, where):
  return weak_losses.box_loss(
      logits, labels, where=where) + losses.cross_entropy_loss(
          logits, labels, where=where)


def _run(kind, num_devices):
  """Trains two steps with DII and CutMix; returns the state and metrics."""
  mapping = parallel.make_mapping(kind, devices=jax.devices()[:num_devices])
  weighting = train_step_lib.Weighting(name='dii', learning_rate=0.2)
  optimizer = optax.sgd(0.05)
  step = mapping.step(train_step_lib.make_train_step(
      _apply, optimizer, num_classes=tiny.NUM_CLASSES, augment_fn=_augment,
      supervision=tiny.SUPERVISION._replace(weak_loss_fn=_weak_loss),
      weighting=weighting, axis_name=mapping.axis_name,
      co_reg=train_step_lib.CoRegularization(scale=0.5)))
  state = mapping.replicate(train_step_lib.init_state(
      _init, optimizer, jax.random.key(0), num_weak=tiny.NUM_WEAK,
      indicator_value=0.5, weighting=weighting))
  for i in range(2):
    batch = tiny.random_batch(i, num_strong=2, num_weak=4, size=_SIZE)
    state, metrics = step(
        state, mapping.place_batch(batch), mapping.replicate(jax.random.key(1)))
  return parallel.to_host(state), parallel.to_host(metrics)


class VolumeStepTest(absltest.TestCase):

  @long_only.only_long  # It compiles for 40 s; parallel_test does so in 2-D.
  def test_two_devices_equal_one(self):
    state, metrics = single = _run('pmap', 1)
    # Means over shards add the instances in another order.
    chex.assert_trees_all_close(_run('pmap', 2), single, rtol=1e-5, atol=1e-6)
    self.assertEqual(metrics['skipped'], 0)
    self.assertEqual(state.num_skipped, 0)
    self.assertGreater(metrics['co_reg_loss'], 0)
    self.assertGreater(np.ptp(state.indicators.weights), 0.1)
    for leaf in jax.tree.leaves(state.params):
      self.assertTrue(np.isfinite(leaf).all())

  def test_slopes_of_the_weights_equal_finite_differences(self):
    with jax.enable_x64(True):
      # The last layer computes in float32, which limits the differences.
      model = _MODEL.clone(dtype=jnp.float64)
      batch = tiny.random_batch(0, num_strong=2, num_weak=3, size=_SIZE)
      params = jax.tree.map(lambda x: x.astype(jnp.float64), _init(
          jax.random.key(0)))

      def losses_of(loss_fn, examples):
        labels, where = losses.one_hot_labels(
            examples.label, tiny.NUM_CLASSES)
        images = jnp.asarray(examples.image / 255)
        return lambda p: loss_fn(
            model.apply({'params': p}, images).astype(jnp.float64),
            labels.astype(jnp.float64), where=where)

      weak = losses_of(_weak_loss, batch.weak)
      strong = losses_of(losses.cross_entropy_dice_loss, batch.strong)
      weights = jnp.array([0.2, 0.5, 1.0])

      @jax.jit
      def after(weights):
        grads = jax.grad(lambda p: weights @ weak(p) / 3)(params)
        return jnp.mean(strong(jax.tree.map(
            lambda p, g: p - 0.1 * g, params, grads)))

      slopes = jax.jit(lambda w: weighting_lib.lookahead_weight_grads(
          weak, lambda p: jnp.mean(strong(p)), params, w, step_size=0.1))(
              weights)
      delta = 1e-2
      differences = np.array([
          (after(weights + d) - after(weights - d)) / (2 * delta)
          for d in delta * np.eye(3)])
    self.assertGreater(np.abs(slopes).max(), 1e-4)
    np.testing.assert_allclose(
        slopes, differences, atol=1e-2 * np.abs(slopes).max())


if __name__ == '__main__':
  absltest.main()
