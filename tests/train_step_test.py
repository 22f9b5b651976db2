"""Tests for hybridseg.train_step on one device; see also parallel_test."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import augmentation
from hybridseg import co_regularization
from hybridseg import losses
from hybridseg import meta_weight_net
from hybridseg import metrics
from hybridseg import mixing
from hybridseg import models
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import weight_rules
from tests import jaxprs
from tests import tiny_step as tiny

@functools.cache
def _jitted_step(name, method='forward'):
  return jax.jit(tiny.make_step(train_step_lib.Weighting(
      name=name, learning_rate=0.2, method=method)))


def _reference_step(name, state, batch, key):
  """Computes the step by the formulas of its docstring and `jax.jacrev`."""
  prepare = lambda examples: (
      augmentation.to_float(examples.image),
      *losses.one_hot_labels(examples.label, tiny.NUM_CLASSES))
  strong_data, weak_data = prepare(batch.strong), prepare(batch.weak)
  num_weak = len(weak_data[0])

  def instance_losses(loss, params, data):
    images, labels, where = data
    return loss(tiny.apply_tiny(params, images), labels, where=where)

  dots = []
  for params in state.params:
    strong = jax.grad(lambda p: jnp.mean(instance_losses(
        tiny.SUPERVISION.strong_loss_fn, p, strong_data)))(params)
    weak = jax.jacrev(lambda p: instance_losses(
        tiny.SUPERVISION.alignment_loss_fn, p, weak_data))(params)
    if name == 'dii_last_layer':
      weak, strong = weak['head'], strong['head']
    dot = sum(jax.tree.leaves(jax.tree.map(
        lambda w, s: w.reshape(num_weak, -1) @ s.reshape(-1), weak, strong)))
    dots.append(dot / jnp.sqrt(jnp.mean(dot**2)))
  alignment = (dots[0] + dots[1]) / 2

  ids = batch.weak.instance_id
  weights, table = jnp.ones(num_weak), state.indicators.weights
  if name == 'l2rw':
    raw = jnp.maximum(alignment, 0)
    weights = num_weak * raw / jnp.sum(raw)
  elif name == 'meta_weight_net':
    weak_losses = [instance_losses(tiny.SUPERVISION.weak_loss_fn, p, weak_data)
                   for p in state.params]
    weights, _ = meta_weight_net.weigh(
        state.weight_net, sum(weak_losses) / 2, alignment, learning_rate=0.2)
  elif name != 'uniform':
    table = table.at[ids].set(jnp.clip(table[ids] + 0.2 * alignment, 0, 1))
    weights = table[ids]

  mix_key = jax.random.split(jax.random.fold_in(key, state.step), 3)[2]
  masks = mixing.cutmix_masks(
      train_step_lib.instance_keys(mix_key, num_weak), (8, 8))
  new_params = []
  for this, other in (0, 1), (1, 0):
    teacher = mixing.mix_pairs(
        masks, tiny.apply_tiny(state.params[other], weak_data[0]))

    def objective(p, teacher=teacher):
      strong = jnp.mean(
          instance_losses(tiny.SUPERVISION.strong_loss_fn, p, strong_data))
      weak = jnp.mean(weights * instance_losses(
          tiny.SUPERVISION.weak_loss_fn, p, weak_data))
      cross = jnp.mean(co_regularization.cross_pseudo_losses(
          tiny.apply_tiny(p, mixing.mix_pairs(masks, weak_data[0])), teacher,
          pixel_weights=mixing.mix_pairs(masks, weights)))
      return (strong + tiny.SUPERVISION.weak_scale * weak
              + tiny.CO_REG.scale * cross)

    grads = jax.grad(objective)(state.params[this])
    new_params.append(jax.tree.map(
        lambda p, g: p - tiny.LEARNING_RATE * g, state.params[this], grads))
  return tuple(new_params), table


class TrainStepTest(parameterized.TestCase):

  @parameterized.parameters(*weight_rules.RULES)
  def test_equals_the_formulas(self, name):
    state = tiny.init_state(weighting=train_step_lib.Weighting(name=name))
    batch, key = tiny.random_batch(0), jax.random.key(7)
    new, step_metrics = _jitted_step(name)(state, batch, key)
    params, table = jax.jit(functools.partial(_reference_step, name))(
        state, batch, key)
    # Sums over 64 pixels and up to 4 instances have another order, which causes
    # rounding errors.
    chex.assert_trees_all_close(new.params, params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new.indicators.weights, table, rtol=1e-5)
    self.assertEqual(new.step, 1)
    self.assertEqual(
        new.weight_net is not None, name == 'meta_weight_net')
    if new.weight_net is not None:
      with self.assertRaisesRegex(ValueError, 'holds nothing of weighting'):
        _jitted_step(name)(tiny.init_state(), batch, key)
    moved = name.startswith('dii')
    self.assertEqual(int(new.indicators.num_updates.sum()), 4 * moved)
    if moved:
      ids = batch.weak.instance_id
      self.assertGreater(np.ptp(new.indicators.weights[ids]), 0.05)
      np.testing.assert_allclose(
          step_metrics['mean_weight'], table[ids].mean(), rtol=1e-5)
    nonfinite = step_metrics.pop('nonfinite')
    self.assertFalse(any(x.any() for x in jax.tree.leaves(nonfinite)))
    self.assertTrue(all(np.isfinite(m) for m in step_metrics.values()))

  def test_method_grad_equals_forward(self):
    state, batch = tiny.init_state(), tiny.random_batch(0)
    key = jax.random.key(7)
    chex.assert_trees_all_close(
        _jitted_step('dii', 'grad')(state, batch, key),
        _jitted_step('dii', 'forward')(state, batch, key),
        rtol=1e-5, atol=1e-6)

  @parameterized.parameters('dii', 'l2rw')
  def test_method_per_instance_equals_forward(self, name):
    results = []
    for method, alignment_loss_fn in (
        ('per_instance', None), ('forward', lambda *a, **k: (
            tiny.SUPERVISION.weak_loss_fn(*a, **k)))):
      step = jax.jit(tiny.make_step(
          train_step_lib.Weighting(
              name=name, learning_rate=0.2, method=method),
          supervision=tiny.SUPERVISION._replace(
              alignment_loss_fn=alignment_loss_fn)))
      results.append(step(
          tiny.init_state(), tiny.random_batch(0), jax.random.key(7)))
    chex.assert_trees_all_close(*results, rtol=1e-5, atol=1e-6)

  @parameterized.parameters('forward', 'per_instance')
  def test_swapping_the_networks_swaps_the_result(self, method):
    state, key = tiny.init_state(), jax.random.key(7)
    step = jax.jit(tiny.make_step(
        train_step_lib.Weighting(
            name='dii', learning_rate=0.2, method=method),
        supervision=tiny.SUPERVISION if method == 'forward' else
        tiny.SUPERVISION._replace(alignment_loss_fn=None)))
    swap = lambda s: s._replace(
        params=s.params[::-1], opt_states=s.opt_states[::-1])
    swapped = swap(state)
    for i in range(3):
      state, step_metrics = step(state, tiny.random_batch(i), key)
      swapped, swapped_metrics = step(swapped, tiny.random_batch(i), key)
    # The results may differ in the last digit, because the compiler fuses the
    # operations of the two networks differently.
    chex.assert_trees_all_close(swap(swapped), state, rtol=1e-6, atol=1e-6)
    chex.assert_trees_all_close(swapped_metrics, step_metrics, rtol=1e-6)
    self.assertGreater(
        np.abs(state.params[0]['conv'] - state.params[1]['conv']).max(), 0.1)

  def test_common_harm_is_taken_off_the_indicators_only(self):
    batch = tiny.random_batch(0)
    # With the negated strong loss, learning from weak labels does harm.
    strong = tiny.SUPERVISION.strong_loss_fn
    supervision = tiny.SUPERVISION._replace(
        strong_loss_fn=lambda *args, **kwargs: -strong(*args, **kwargs))
    tables = []
    for flag in False, True:
      step = jax.jit(tiny.make_step(train_step_lib.Weighting(
          name='dii', learning_rate=0.2, without_common_harm=flag),
          supervision=supervision))
      new, _ = step(tiny.init_state(), batch, jax.random.key(7))
      tables.append(new.indicators.weights)
    ids = batch.weak.instance_id
    moves = (tables[0][ids] - 0.5) / 0.2
    self.assertLess(jnp.mean(moves), -0.01)
    np.testing.assert_allclose(
        tables[1][ids], tables[0][ids] - 0.2 * jnp.mean(moves), rtol=1e-5)

  def test_indicators_move_when_due_and_the_step_traces_once(self):
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(
        tiny.make_step(
            train_step_lib.Weighting(name='dii', every_steps=2, start_step=3),
            co_reg=train_step_lib.CoRegularization(),
            optimizer=optax.adam(0.01)), n=1))
    state = tiny.init_state(optimizer=optax.adam(0.01))
    moved = []
    for i in range(8):
      before = state.indicators
      batch = tiny.random_batch(i)
      state, _ = step(state, batch, jax.random.key(7))
      moved.append(
          int(state.indicators.num_updates.sum() - before.num_updates.sum()))
      rows = np.flatnonzero(state.indicators.weights != before.weights)
      self.assertContainsSubset(rows, batch.weak.instance_id)
      self.assertEqual(rows.size > 0, i in (4, 6))
    # Indicators move at steps that are divisible by 2 and not before step 3.
    self.assertEqual(moved, [0, 0, 0, 0, 4, 0, 4, 0])

  def test_without_weak_labels_only_the_strong_count(self):
    step = jax.jit(tiny.make_step(
        train_step_lib.Weighting(),
        supervision=tiny.SUPERVISION._replace(weak_scale=0.0),
        co_reg=train_step_lib.CoRegularization()))
    batch, key = tiny.random_batch(0), jax.random.key(7)
    state, step_metrics = step(tiny.init_state(), batch, key)
    other, _ = step(
        tiny.init_state(), batch._replace(weak=tiny.random_batch(1).weak), key)
    chex.assert_trees_all_equal(state, other)
    self.assertNotIn('weak_loss', step_metrics)

  def test_weak_only_learns_nothing_from_exact_masks(self):
    def run(batch, **scales):
      step = jax.jit(tiny.make_step(
          train_step_lib.Weighting(),
          supervision=tiny.SUPERVISION._replace(**scales),
          co_reg=train_step_lib.CoRegularization()))
      return step(tiny.init_state(), batch, jax.random.key(7))

    batch = tiny.random_batch(0)
    weak_only, step_metrics = run(batch, strong_scale=0.0)
    other, _ = run(batch._replace(strong=tiny.random_batch(1).strong),
                   strong_scale=0.0)
    chex.assert_trees_all_equal(weak_only, other)
    both, expected = run(batch)
    self.assertEqual(step_metrics['strong_loss'], expected['strong_loss'])
    # The optimizer is plain SGD, so the updates of the two terms add up.
    strong_only, _ = run(batch, weak_scale=0.0)
    chex.assert_trees_all_close(
        both.params, jax.tree.map(
            lambda s, w, p: s + w - p, strong_only.params, weak_only.params,
            tiny.init_state().params), rtol=1e-5, atol=1e-6)

  def test_masks_that_are_not_learnt_still_steer_the_indicators(self):
    weighting = train_step_lib.Weighting(name='dii', learning_rate=0.2)
    one, none = (
        jax.jit(tiny.make_step(weighting, supervision=tiny.SUPERVISION._replace(
            strong_scale=scale)))(
                tiny.init_state(), tiny.random_batch(0), jax.random.key(7))[0]
        for scale in (1.0, 0.0))
    np.testing.assert_allclose(
        none.indicators.weights, one.indicators.weights, rtol=1e-6)
    self.assertGreater(np.ptp(none.indicators.weights), 0.05)

  def test_scales_may_be_schedules(self):
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(tiny.make_step(
        train_step_lib.Weighting(),
        supervision=tiny.SUPERVISION._replace(
            strong_scale=lambda step: jnp.where(step < 2, 0.0, 1.0),
            weak_scale=lambda step: jnp.where(step < 2, 0.7, 0.0)),
        co_reg=train_step_lib.CoRegularization()), n=1))
    state, key = tiny.init_state(), jax.random.key(7)
    for i in range(4):
      first = i < 2
      expected, _ = jax.jit(tiny.make_step(
          train_step_lib.Weighting(),
          supervision=tiny.SUPERVISION._replace(
              strong_scale=float(not first), weak_scale=0.7 * first),
          co_reg=train_step_lib.CoRegularization()))(
              state, tiny.random_batch(i), key)
      state, _ = step(state, tiny.random_batch(i), key)
      chex.assert_trees_all_close(
          state.params, expected.params, rtol=1e-5, atol=1e-6)

  def test_nothing_to_learn(self):
    with self.assertRaisesRegex(ValueError, 'Nothing to learn'):
      tiny.make_step(
          train_step_lib.Weighting(), supervision=tiny.SUPERVISION._replace(
              strong_scale=0.0, weak_scale=0.0))

  @parameterized.parameters(
      ({'name': 'ddi'}, 1.0, "'ddi'.*'dii'"),
      ({'name': 'dii', 'method': 'reverse'}, 1.0, "'reverse'.*'forward'"),
      ({'name': 'dii'}, 0.0, "'dii'.*weak_scale"),
      ({'name': 'dii', 'method': 'per_instance'}, 1.0,
       'alignment_loss_fn=None'),
      ({'name': 'dii_last_layer'}, 0.0, "'dii_last_layer'.*weak_scale"),
      ({'name': 'l2rw'}, 0.0, "'l2rw'.*weak_scale"),
  )
  def test_refuses(self, weighting, weak_scale, message):
    with self.assertRaisesRegex(ValueError, message):
      tiny.make_step(
          train_step_lib.Weighting(**weighting),
          supervision=tiny.SUPERVISION._replace(weak_scale=weak_scale))


  def test_last_layer_needs_features(self):
    with self.assertRaisesRegex(ValueError, 'features_fn'):
      train_step_lib.make_train_step(
          tiny.apply_tiny, optax.sgd(0.1), num_classes=tiny.NUM_CLASSES,
          augment_fn=tiny.no_augmentation, supervision=tiny.SUPERVISION,
          weighting=train_step_lib.Weighting(name='dii_last_layer'))


class Bfloat16Test(parameterized.TestCase):

  @parameterized.parameters('forward', 'per_instance')
  def test_state_metrics_and_averages_stay_float32(self, method):
    model = models.build(
        'unet', num_classes=tiny.NUM_CLASSES,
        options={'features': [2, 4], 'dtype': 'bfloat16'})
    images = jnp.zeros((1, 8, 8, 1))
    optimizer = optax.adam(0.1)
    state = jax.eval_shape(lambda: train_step_lib.init_state(
        lambda key: model.init(key, images)['params'], optimizer,
        jax.random.key(0), num_weak=tiny.NUM_WEAK))
    step = train_step_lib.make_train_step(
        lambda params, images: model.apply({'params': params}, images),
        optimizer, num_classes=tiny.NUM_CLASSES,
        augment_fn=tiny.no_augmentation,
        supervision=tiny.SUPERVISION if method == 'forward' else
        tiny.SUPERVISION._replace(alignment_loss_fn=None),
        weighting=train_step_lib.Weighting(name='dii', method=method),
        co_reg=tiny.CO_REG, axis_name='batch')
    jaxpr, (new, step_metrics) = jax.make_jaxpr(
        step, axis_env=[('batch', 4)], return_shape=True)(
            state, tiny.random_batch(0), jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    floats = [x.dtype for x in jax.tree.leaves((new, step_metrics))
              if jnp.issubdtype(x.dtype, jnp.inexact)]
    self.assertEqual(set(floats), {jnp.dtype('float32')})
    averaged = [
        x.aval.dtype for eqn in jaxprs.equations(jaxpr.jaxpr)
        if 'psum' in eqn.primitive.name or 'all_gather' in eqn.primitive.name
        for x in eqn.invars if hasattr(x.aval, 'dtype')]
    # Averaged are the gradients of three terms for each of two networks, and
    # the losses.
    self.assertGreater(len(averaged), 6 * len(jax.tree.leaves(state.params[0])))
    self.assertNotIn(jnp.dtype('bfloat16'), averaged)
    # The convolutions really compute in bfloat16.
    self.assertIn(jnp.dtype('bfloat16'), {
        eqn.invars[0].aval.dtype for eqn in jaxprs.equations(jaxpr.jaxpr)
        if eqn.primitive.name == 'conv_general_dilated'})


class InitStateTest(absltest.TestCase):

  def test_two_networks_and_no_weak_types(self):
    state = tiny.init_state(optimizer=optax.adam(0.1), value=0.25)
    self.assertGreater(
        np.abs(state.params[0]['conv'] - state.params[1]['conv']).max(), 0.1)
    np.testing.assert_array_equal(
        state.indicators.weights, np.full(tiny.NUM_WEAK, 0.25))
    for counter in state.step, state.num_skipped, state.num_skipped_in_a_row:
      self.assertEqual(counter, 0)
      self.assertEqual((counter.shape, counter.dtype), ((), jnp.int32))
    self.assertFalse(any(x.weak_type for x in jax.tree.leaves(state)))
    chex.assert_trees_all_equal(
        state, tiny.init_state(optimizer=optax.adam(0.1), value=0.25))


class InstanceKeysTest(parameterized.TestCase):

  @parameterized.parameters(1, 2, 4)
  def test_shards_equal_single(self, num_shards):
    key = jax.random.key(0)
    single = train_step_lib.instance_keys(key, 8)
    sharded = jax.vmap(
        lambda _: jax.random.key_data(train_step_lib.instance_keys(
            key, 8 // num_shards, axis_name='batch')),
        axis_name='batch')(jnp.arange(num_shards))
    single = np.asarray(jax.random.key_data(single))
    np.testing.assert_array_equal(sharded.reshape(single.shape), single)
    self.assertLen({row.tobytes() for row in single}, 8)


class EvalStepTest(absltest.TestCase):

  def test_largest_mean_probability_wins(self):
    # The parameters are the logits. Network 0 predicts class 0 with probability
    # 0.99, and network 1 predicts class 1 with 0.6. The summed probabilities
    # are 0.99 + 0.4 for class 0, and 0.01 + 0.6 for class 1.
    log = lambda *p: jnp.log(jnp.array(p))
    eval_step = train_step_lib.make_eval_step(
        lambda p, images: jnp.tile(p, images.shape[:3] + (1,)),
        num_classes=2, image_fn=augmentation.to_float)
    examples = types.Examples(
        image=jnp.zeros((1, 1, 3, 1), jnp.uint8),
        label=jnp.array([[[0, 1, types.UNLABELLED]]], jnp.uint8),
        instance_id=jnp.array([-1]))
    predictions, counts = eval_step(
        (log(0.99, 0.01), log(0.4, 0.6)), examples)
    np.testing.assert_array_equal(predictions, [[[0, 0, 0]]])
    self.assertEqual(predictions.dtype, jnp.uint8)
    np.testing.assert_array_equal(counts, [[[1, 1, 0], [0, 0, 1]]])

  def test_counts_are_those_of_the_predictions(self):
    state, batch = tiny.init_state(), tiny.random_batch(0)
    eval_step = jax.jit(train_step_lib.make_eval_step(
        tiny.apply_tiny, num_classes=tiny.NUM_CLASSES,
        image_fn=augmentation.to_float))
    predictions, counts = eval_step(state.params, batch.strong)
    np.testing.assert_array_equal(
        counts, metrics.confusion_counts(
            predictions, jnp.asarray(batch.strong.label),
            num_classes=tiny.NUM_CLASSES))
    self.assertEqual(
        counts[..., [0, 2]].sum(), (batch.strong.label < 255).sum())


if __name__ == '__main__':
  absltest.main()
