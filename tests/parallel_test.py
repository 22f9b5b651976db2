"""Tests for hybridseg.parallel: four devices give the numbers of one."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import augmentation
from hybridseg import models
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from tests import train_step_test as tiny

_NUM_DEVICES = 4
_NUM_STEPS = 3


def setUpModule():
  if jax.device_count() < _NUM_DEVICES:
    raise RuntimeError('Run with pytest: tests/conftest.py forces 4 devices.')


def _jitter(keys, examples):
  """Scales the intensities at random: an augmentation that compiles fast."""
  factors = jax.vmap(jax.random.uniform)(keys)
  image = augmentation.to_float(examples.image)
  return examples._replace(image=image * factors[:, None, None, None])


_augment = functools.partial(
    augmentation.augment, options=augmentation.AugmentationOptions())


def _run(network, weighting, augment_fn, devices):
  """Trains a few steps; returns the state, the metrics and the traces."""
  # SGD: the first steps of Adam are sign-like, gradient / |gradient|, so that
  # a gradient of 1e-8 whose sign is rounding would move a parameter by 1e-3.
  optimizer = optax.chain(
      optax.clip_by_global_norm(1.0), optax.sgd(0.05, momentum=0.9))
  model_init, apply_fn, features_fn = network
  supervision = tiny.SUPERVISION
  if weighting.method == 'per_instance':
    supervision = supervision._replace(alignment_loss_fn=None)
  traces = []
  step_fn = train_step_lib.make_train_step(
      apply_fn, optimizer, num_classes=tiny.NUM_CLASSES,
      features_fn=features_fn, augment_fn=augment_fn,
      supervision=supervision, weighting=weighting,
      co_reg=train_step_lib.CoRegularization(scale=0.5, ramp_up_steps=4),
      axis_name=parallel.AXIS_NAME)

  def counted(*args):
    traces.append(args)
    return step_fn(*args)

  step = parallel.pmap_step(counted, devices=devices)
  state = train_step_lib.init_state(
      model_init, optimizer, jax.random.key(0), num_weak=tiny.NUM_WEAK,
      indicator_value=0.5)
  state = parallel.replicate(state, devices=devices)
  history = []
  for i in range(_NUM_STEPS):
    batch = tiny.random_batch(i, num_strong=4, num_weak=8)
    state, metrics = step(
        state, parallel.shard_batch(batch, len(devices)), jax.random.key(1))
    history.append(jax.device_get((state.indicators, metrics)))
  return jax.device_get(state), history, len(traces)


class DevicesTest(parameterized.TestCase):

  def _assert_four_equal_one(self, *args):
    state, history, num_traces = _run(*args, jax.devices()[:_NUM_DEVICES])
    single, single_history, _ = _run(*args, jax.devices()[:1])
    self.assertEqual(num_traces, 1)
    # Means over shards add the instances in another order; a weight or a
    # parameter near 0 keeps the rounding of the terms that cancelled.
    chex.assert_trees_all_close(
        history, single_history, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state, single, rtol=1e-5, atol=1e-6)
    self.assertTrue(all(
        np.isfinite(x).all() for x in jax.tree.leaves(state)))
    return state

  @parameterized.parameters(*train_step_lib.WEIGHTINGS)
  def test_whole_step(self, name):
    state = self._assert_four_equal_one(
        tiny.NETWORK, train_step_lib.Weighting(name=name, learning_rate=0.2),
        _augment if name == 'dii' else _jitter)
    moves = name.startswith('dii')
    self.assertEqual(
        state.indicators.num_updates.sum(), 8 * _NUM_STEPS * moves)
    self.assertEqual(np.ptp(state.indicators.weights) > 0.1, moves)
    self.assertBetween(state.indicators.weights.min(), 0, 1)
    self.assertBetween(state.indicators.weights.max(), 0, 1)

  def test_whole_step_by_grad_and_not_always_due(self):
    self._assert_four_equal_one(
        tiny.NETWORK, train_step_lib.Weighting(
            name='dii', learning_rate=0.2, every_steps=2, method='grad'),
        _jitter)

  @parameterized.parameters('forward', 'per_instance')
  def test_whole_step_of_the_unet(self, method):
    model = models.build(
        'unet', num_classes=tiny.NUM_CLASSES, options={'features': (2, 4)})
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))['params']

    def init(key):
      rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
      return jax.tree.map(
          lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype),
          shapes)

    apply_fn = lambda p, images: model.apply({'params': p}, images)
    self._assert_four_equal_one(
        (init, apply_fn, None),
        train_step_lib.Weighting(
            name='dii', learning_rate=0.2, method=method), _jitter)


class ShardBatchTest(absltest.TestCase):

  def test_hand_computed(self):
    batch = {'x': np.arange(8).reshape(4, 2), 'y': np.arange(4)}
    shards = parallel.shard_batch(batch, 2)
    np.testing.assert_array_equal(
        shards['x'], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    np.testing.assert_array_equal(shards['y'], [[0, 1], [2, 3]])
    chex.assert_trees_all_equal(parallel.unshard(shards), batch)

  def test_refuses_a_batch_that_does_not_divide(self):
    with self.assertRaisesRegex(
        ValueError, 'batch of 6 .* 4 devices.*multiple of 4'):
      parallel.shard_batch({'x': np.zeros((6, 2))}, 4)


class MapsTest(absltest.TestCase):

  def test_replicate_keeps_values_and_shapes(self):
    tree = {'x': np.arange(3.0, dtype=np.float32), 'n': np.int32(2)}
    for devices in (None, jax.devices()[:2]):
      placed = parallel.replicate(tree, devices=devices)
      chex.assert_trees_all_equal(jax.device_get(placed), tree)
      self.assertEqual(
          placed['x'].sharding.device_set, set(devices or jax.devices()))

  def test_eval_keeps_the_order_of_the_cases(self):
    x = np.arange(8.0, dtype=np.float32)
    scale = parallel.replicate(np.float32(3))
    mapped = parallel.pmap_eval(lambda scale, x: scale * x)
    np.testing.assert_array_equal(
        parallel.unshard(
            jax.device_get(mapped(scale, parallel.shard_batch(x, 4)))), 3 * x)

  def test_step_averages_over_the_global_batch(self):
    step = parallel.pmap_step(
        lambda state, x, key: state + jax.lax.pmean(
            jnp.mean(x), parallel.AXIS_NAME))
    state = step(
        parallel.replicate(jnp.float32(10)),
        parallel.shard_batch(np.arange(8.0, dtype=np.float32), 4),
        jax.random.key(0))
    self.assertEqual(state.shape, ())
    self.assertEqual(state, 13.5)


if __name__ == '__main__':
  absltest.main()
