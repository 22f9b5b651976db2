"""Tests for hybridseg.parallel: any number of devices gives the same result."""

import contextlib
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
from hybridseg import weight_rules
from tests import long_only
from tests import tiny_step as tiny

_NUM_DEVICES = 4
_NUM_STEPS = 3
_KINDS = ('jit', 'pmap')
_FOUR = (('pmap', _NUM_DEVICES),)
_PLACES = long_only.first_of((
    *_FOUR, ('jit', _NUM_DEVICES), ('pmap', 2), ('jit', 1), ('jit', 2)), 2)


def setUpModule():
  if jax.device_count() < _NUM_DEVICES:
    raise RuntimeError('Run with pytest: tests/conftest.py forces 4 devices.')


def _jitter(keys, examples):
  """Multiplies each image by a random factor: a fast-compiling augmentation."""
  factors = jax.vmap(jax.random.uniform)(keys)
  image = augmentation.to_float(examples.image)
  return examples._replace(image=image * factors[:, None, None, None])


def _unet():
  model = models.build(
      'unet', num_classes=tiny.NUM_CLASSES, options={'features': (2,)})
  shapes = jax.eval_shape(
      model.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))['params']

  def init(key):
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return jax.tree.map(
        lambda x: jnp.asarray(0.5 * rng.normal(size=x.shape), x.dtype), shapes)

  return init, lambda p, images: model.apply({'params': p}, images), None


_augment = functools.partial(
    augmentation.augment, options=augmentation.AugmentationOptions())


@contextlib.contextmanager
def _traces():
  """Yields a list, to which JAX's tracing and compiling events are added."""
  events = []

  def listen(event, unused_duration_s, **unused_kwargs):
    if event.startswith('/jax/core/compile/'):
      events.append(event)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    yield events
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)


def _run(network, weighting, augment_fn, kind, num_devices):
  """Trains for a few steps; returns the last state, and numbers of each step.

  The numbers of a step are a pair (indicators, metrics).
  """
  # Use SGD, since the first updates of Adam resemble gradient / |gradient|: a
  # gradient of 1e-8, whose sign depends on rounding, would move a parameter by
  # a full learning rate.
  optimizer = optax.chain(
      optax.clip_by_global_norm(1.0), optax.sgd(0.05, momentum=0.9))
  model_init, apply_fn, features_fn = network
  supervision = tiny.SUPERVISION
  if weighting.method == 'per_instance':
    supervision = supervision._replace(alignment_loss_fn=None)
  mapping = parallel.make_mapping(kind, devices=jax.devices()[:num_devices])
  step = mapping.step(train_step_lib.make_train_step(
      apply_fn, optimizer, num_classes=tiny.NUM_CLASSES,
      features_fn=features_fn, augment_fn=augment_fn,
      supervision=supervision, weighting=weighting,
      co_reg=train_step_lib.CoRegularization(scale=0.5, ramp_up_steps=4),
      axis_name=mapping.axis_name))
  state = mapping.replicate(train_step_lib.init_state(
      model_init, optimizer, jax.random.key(0), num_weak=tiny.NUM_WEAK,
      indicator_value=0.5, weighting=weighting))
  key = mapping.replicate(jax.random.key(1))
  history = []
  with jax.transfer_guard('disallow'):
    for i in range(_NUM_STEPS):
      batch = mapping.place_batch(
          tiny.random_batch(i, num_strong=4, num_weak=8))
      with _traces() as traces:
        state, metrics = step(state, batch, key)
      # `replicate` places the state as a step returns it, so that only the
      # first step is compiled.
      if bool(traces) != (i == 0):
        raise AssertionError(f'Traced at step {i}: {traces}.')
      history.append(parallel.to_host((state.indicators, metrics)))
    return parallel.to_host(state), history


class DevicesTest(parameterized.TestCase):

  def _assert_equals_one_device(self, *args, places=_PLACES):
    single, single_history = _run(*args, 'pmap', 1)
    for kind, num_devices in places:
      with self.subTest(kind=kind, num_devices=num_devices):
        state, history = _run(*args, kind, num_devices)
        # Means over shards add the instances in another order. In a weight or
        # parameter near 0, large terms have cancelled, but the rounding errors
        # of these terms remain, hence `atol`.
        chex.assert_trees_all_close(
            history, single_history, rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(state, single, rtol=1e-5, atol=1e-6)
    self.assertTrue(all(
        np.isfinite(x).all() for x in jax.tree.leaves(single)))
    return single

  @parameterized.parameters(*weight_rules.RULES)
  def test_whole_step(self, name):
    state = self._assert_equals_one_device(
        tiny.NETWORK, train_step_lib.Weighting(name=name, learning_rate=0.2),
        _augment if name == 'dii' else _jitter,
        places=_PLACES if name == 'dii_last_layer' else _FOUR)
    moves = name.startswith('dii')
    self.assertEqual(
        state.indicators.num_updates.sum(), 8 * _NUM_STEPS * moves)
    self.assertEqual(np.ptp(state.indicators.weights) > 0.1, moves)
    self.assertBetween(state.indicators.weights.min(), 0, 1)
    self.assertBetween(state.indicators.weights.max(), 0, 1)

  def test_whole_step_by_grad_and_not_always_due(self):
    self._assert_equals_one_device(
        tiny.NETWORK, train_step_lib.Weighting(
            name='dii', learning_rate=0.2, every_steps=2, method='grad',
            without_common_harm=True),
        _jitter, places=_FOUR)

  def test_whole_step_per_instance(self):
    self._assert_equals_one_device(
        tiny.NETWORK, train_step_lib.Weighting(
            name='dii', learning_rate=0.2, method='per_instance'),
        _jitter, places=_FOUR)

  @long_only.only_long
  @parameterized.parameters(('forward', 'pmap'), ('per_instance', 'jit'))
  def test_whole_step_of_the_unet(self, method, kind):
    self._assert_equals_one_device(
        _unet(), train_step_lib.Weighting(
            name='dii', learning_rate=0.2, method=method), _jitter,
        places=[(kind, _NUM_DEVICES)])

  @parameterized.parameters(*long_only.first_of(
      (('forward',), ('per_instance',))))
  def test_whole_step_split_by_the_compiler_alone(self, method):
    # Users may jit a step without `axis_name` and shard its arguments
    # themselves.
    supervision = tiny.SUPERVISION._replace(alignment_loss_fn=None)
    weighting = train_step_lib.Weighting(
        name='dii', learning_rate=0.2, method=method)
    step = jax.jit(tiny.make_step(weighting, supervision=supervision))
    mesh = jax.make_mesh(
        (_NUM_DEVICES,), ('b',), axis_types=(jax.sharding.AxisType.Auto,))
    place = lambda x, *axes: jax.device_put(x, jax.sharding.NamedSharding(
        mesh, jax.sharding.PartitionSpec(*axes)))
    args = (tiny.init_state(weighting=weighting),
            tiny.random_batch(0, num_strong=4, num_weak=8), jax.random.key(1))
    state, batch, key = args
    chex.assert_trees_all_close(
        parallel.to_host(step(place(state), place(batch, 'b'), place(key))),
        parallel.to_host(step(*args)), rtol=1e-5, atol=1e-6)


class ShardBatchTest(absltest.TestCase):

  def test_hand_computed(self):
    batch = {'x': np.arange(8).reshape(4, 2), 'y': np.arange(4)}
    shards = parallel.shard_batch(batch, 2)
    np.testing.assert_array_equal(
        shards['x'], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    np.testing.assert_array_equal(shards['y'], [[0, 1], [2, 3]])

  def test_refuses_a_batch_that_does_not_divide(self):
    with self.assertRaisesRegex(
        ValueError, 'batch of 6 .* 4 devices.*multiple of 4'):
      parallel.shard_batch({'x': np.zeros((6, 2))}, 4)


class MappingTest(parameterized.TestCase):

  def test_refuses_an_unknown_kind(self):
    with self.assertRaisesRegex(ValueError, "'vmap'; known: .*'jit', 'pmap'"):
      parallel.make_mapping('vmap')

  @parameterized.parameters(*_KINDS)
  def test_step_sees_the_global_batch(self, kind):
    mapping = parallel.make_mapping(kind)

    def step_fn(state, x, key):
      mean = jax.lax.pmean(jnp.mean(x), mapping.axis_name)
      return state + mean, {'mean': mean + 0 * jax.random.uniform(key)}

    step = mapping.step(step_fn)
    original = jnp.float32(10)
    state = mapping.replicate(original)
    x = mapping.place_batch(np.arange(8.0, dtype=np.float32))
    new, metrics = step(state, x, mapping.replicate(jax.random.key(0)))
    self.assertEqual(mapping.num_devices, _NUM_DEVICES)
    self.assertEqual(mapping.num_local_devices, _NUM_DEVICES)
    self.assertEqual(new.shape, ())
    self.assertEqual(new, 13.5)
    self.assertEqual(metrics['mean'], 3.5)
    self.assertTrue(state.is_deleted())
    self.assertEqual(original, 10)  # A copy was donated.
    self.assertEqual(new.sharding, mapping.replicate(original).sharding)

  @parameterized.product(kind=_KINDS, num_devices=(1, 2, 4))
  def test_eval_keeps_the_order(self, kind, num_devices):
    devices = jax.devices()[:num_devices]
    mapping = parallel.make_mapping(kind, devices=devices)
    evaluate = mapping.eval(lambda scale, x: {'y': scale['s'] * x})
    x = np.arange(24.0, dtype=np.float32).reshape(8, 3)
    params = {'s': np.float32(3)}
    for scale in (params, mapping.replicate(params)):
      out = evaluate(scale, x)['y']
      self.assertEqual(out.sharding.device_set, set(devices))
      np.testing.assert_array_equal(out, 3 * x)
    compiled = evaluate.lower(
        params, jax.ShapeDtypeStruct(x.shape, x.dtype)).compile()
    self.assertEqual(
        compiled.memory_analysis().output_size_in_bytes, x.nbytes // num_devices
    )

  @parameterized.parameters(*_KINDS)
  def test_refuses_a_batch_that_does_not_divide(self, kind):
    mapping = parallel.make_mapping(kind)
    message = 'batch of 6 .* 4 devices.*multiple of 4'
    with self.assertRaisesRegex(ValueError, message):
      mapping.place_batch({'x': np.zeros((6, 2))})
    with self.assertRaisesRegex(ValueError, message):
      mapping.eval(lambda p, x: x)(0.0, np.zeros((6, 2)))

  @parameterized.product(kind=_KINDS, num_devices=(1, 4))
  def test_replicate_keeps_values_and_shapes(self, kind, num_devices):
    devices = jax.devices()[:num_devices]
    mapping = parallel.make_mapping(kind, devices=devices)
    tree = {'x': np.arange(3.0, dtype=np.float32), 'n': np.int32(2)}
    on_one_device = jax.tree.map(jnp.asarray, tree)
    for source in (tree, on_one_device, mapping.replicate(tree)):
      placed = mapping.replicate(source)
      chex.assert_trees_all_equal(parallel.to_host(placed), tree)
      self.assertEqual(placed['x'].sharding.device_set, set(devices))
    shapes = jax.eval_shape(lambda: mapping.replicate(on_one_device))
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, tree)


class ProcessesTest(absltest.TestCase):
  """Tests with one process; multi_process_test runs several processes."""

  def test_one_process_is_the_primary(self):
    self.assertTrue(parallel.is_primary())

  def test_to_host_leaves_python_numbers(self):
    tree = parallel.to_host([(3, {'loss': jnp.float32(2)})])
    self.assertEqual(tree, [(3, {'loss': 2.0})])
    self.assertIsInstance(tree[0][1]['loss'], np.ndarray | np.generic)


if __name__ == '__main__':
  absltest.main()
