"""Tests that no bad number gets through hybridseg.guards or the step.

Additional channels of the images inject a bad number into a pixel, a logit or
the slope of one network. The marks of `poison` inject one into a loss.
"""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import guards
from hybridseg import losses
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
from tests import tiny_step as tiny
from tests.long import poison

_NUM_STRONG, _NUM_WEAK = 4, 8
# Channels after the intensity, and where the step adds their values.
_CHANNELS = {'pixel': 1, 'logit': 2, 'grad_0': 3, 'grad_1': 4}
# The number of marked pixels that selects each loss.
_MARKS = {'loss': 1, 'alignment': 4, 'alignment_slope': 7}
_KEY = jax.random.key(7)


def _features(params, images):
  door = lambda name: images[..., _CHANNELS[name]][..., None]
  logits, features = tiny.features_tiny(
      params, images[..., :1] + door('pixel'))
  slope = jnp.where(params['network'] == 0, door('grad_0'), door('grad_1'))
  return poison.with_slope(logits, slope) + door('logit'), features


def _loss(logits, labels, *, where):
  values = losses.cross_entropy_loss(
      logits, labels, where=where & ~poison.marked(labels, where))
  return values + poison.value(labels, where, _MARKS['loss'])


def _alignment_loss(logits, labels, *, where):
  values = losses.soft_dice_loss(
      logits, labels, where=where & ~poison.marked(labels, where))
  values = values + poison.value(labels, where, _MARKS['alignment'])
  return poison.with_slope(
      values, poison.value(labels, where, _MARKS['alignment_slope']))


# Adam with a rate of 0.01 and without clipping. A gradient of 1e25 is finite,
# but its square is not.
_OPTIMIZER = optax.adam(0.01)
_STEPS = {
    'uniform': dict(name='uniform'),
    'dii': dict(name='dii'),
    'dii_sometimes': dict(name='dii', every_steps=2),
    'dii_last_layer': dict(name='dii_last_layer'),
    'l2rw': dict(name='l2rw'),
    'meta_weight_net': dict(name='meta_weight_net'),
    'dii_per_instance': dict(name='dii', method='per_instance'),
    'l2rw_per_instance': dict(name='l2rw', method='per_instance'),
    'co_reg_only': dict(name='uniform'),
}


def _make_step(name, axis_name=None):
  one_loss = _STEPS[name].get('method') == 'per_instance'
  return train_step_lib.make_train_step(
      lambda params, images: _features(params, images)[0], _OPTIMIZER,
      num_classes=tiny.NUM_CLASSES, features_fn=_features,
      augment_fn=lambda unused_keys, examples: examples,
      supervision=train_step_lib.Supervision(
          _loss, _loss, None if one_loss else _alignment_loss,
          weak_scale=float(name != 'co_reg_only')),
      weighting=train_step_lib.Weighting(**_STEPS[name], learning_rate=0.2),
      co_reg=train_step_lib.CoRegularization(scale=0.5), axis_name=axis_name)


@functools.cache
def _step(name):
  return jax.jit(_make_step(name))


def _init_state(name='dii'):
  init = iter(range(2))
  return train_step_lib.init_state(
      lambda key: tiny.init_tiny(key) | {'network': jnp.float32(next(init))},
      _OPTIMIZER, jax.random.key(0), num_weak=tiny.NUM_WEAK,
      indicator_value=0.5,
      weighting=train_step_lib.Weighting(**_STEPS[name]))


def _batch(seed):
  """Returns a batch of noise in which no bad number is injected."""
  batch = tiny.random_batch(seed, _NUM_STRONG, _NUM_WEAK)

  def widen(examples):
    image = np.zeros(examples.label.shape + (5,), np.float32)
    image[..., :1] = examples.image / 255
    # Label the pixel at which bad numbers will be injected.
    examples.label[:, 2, 3] = 1
    return examples._replace(image=image)

  return types.HybridBatch(*map(widen, batch))


def _poisoned(batch, part, row, door, value=np.nan, pixel=(2, 3)):
  """Injects `value` into one instance of `part`, 'strong' or 'weak'."""
  examples = getattr(batch, part)
  image, label = examples.image.copy(), examples.label.copy()
  if door in _CHANNELS:
    image[row, *pixel, _CHANNELS[door]] = value
  else:
    num = _MARKS[door] + [str(v) for v in poison.VALUES].index(str(value))
    label[row].flat[-num:] = poison.NO_CLASS
  return batch._replace(
      **{part: examples._replace(image=image, label=label)})


def _named_terms(metrics):
  return {n for n, bad in metrics['nonfinite']['terms'].items() if bad}


class GuardsTest(parameterized.TestCase):

  @parameterized.parameters(
      ([1.0, 2.0], True), ([1.0, np.nan], False), ([np.inf, 0.0], False),
      ([0.0, -np.inf], False), ([], True), ([3e38, 1e-45], True))
  def test_all_finite(self, values, expected):
    tree = {'x': jnp.ones((2, 2)), 'y': (np.float32(values),),
            'n': jnp.int32(3), 'key': jax.random.key(0)}
    finite = guards.all_finite(tree)
    self.assertEqual(finite, expected)
    self.assertEqual((finite.shape, finite.dtype), ((), bool))

  def test_all_finite_without_floats_and_in_bfloat16(self):
    self.assertTrue(guards.all_finite({}))
    self.assertTrue(guards.all_finite((jnp.arange(3), None)))
    self.assertFalse(guards.all_finite(jnp.array([np.inf], jnp.bfloat16)))

  def test_nonfinite_rows(self):
    losses_ = np.float32([0, np.nan, 1, 2])
    logits = np.zeros((4, 2, 3), np.float32)
    logits[3, 1, 2] = -np.inf
    np.testing.assert_array_equal(
        guards.nonfinite_rows([losses_, {'x': logits}]),
        [False, True, False, True])
    with self.assertRaisesRegex(ValueError, r'\(4,\), \(3,\)'):
      guards.nonfinite_rows([losses_, losses_[:3]])
    with self.assertRaisesRegex(ValueError, 'one B'):
      guards.nonfinite_rows([])

  def test_gather_rows(self):
    rows = np.array([[True, False], [False, False], [False, True]])
    gathered = jax.vmap(
        lambda r: guards.gather_rows(r, axis_name='batch'),
        axis_name='batch')(rows)
    np.testing.assert_array_equal(gathered, np.tile(rows.reshape(-1), (3, 1)))
    np.testing.assert_array_equal(guards.gather_rows(rows[0]), rows[0])

  def test_select_is_bitwise(self):
    new = {'x': np.float32([np.nan, np.inf, 1]), 'n': np.int32(2)}
    # Negative zero, and the other bits of a nan, must be kept.
    old = {'x': np.array([0x80000000, 0x7fc00001, 1], np.uint32).view(
        np.float32), 'n': np.int32(1)}
    select = jax.jit(guards.select)
    for ok, want in (True, new), (False, old):
      got = jax.device_get(select(ok, new, old))
      chex.assert_trees_all_equal_dtypes(got, want)
      self.assertEqual(got['x'].tobytes(), want['x'].tobytes())
      self.assertEqual(got['n'], want['n'])

  @parameterized.parameters(
      (np.zeros(2, np.float32), np.zeros(3, np.float32)),
      (np.zeros(2, np.float32), np.zeros(2, np.int32)))
  def test_select_refuses_another_shape_or_dtype(self, new, old):
    with self.assertRaisesRegex(ValueError, 'New .* differs from old'):
      guards.select(True, new, old)


class StepTest(parameterized.TestCase):

  def _assert_skipped(self, name, batch, *, terms, strong=(), weak=(),
                      state=None):
    """Runs one bad step; returns the terms that its metrics name."""
    state = _after_one_step(name) if state is None else state
    new, metrics = _step(name)(state, batch, _KEY)
    # Everything but the counters is equal bit by bit; nan occurs only where it
    # was injected.
    _assert_bitwise(new, state._replace(
        step=state.step + 1, num_skipped=state.num_skipped + 1,
        num_skipped_in_a_row=state.num_skipped_in_a_row + 1))
    self.assertEqual(metrics['skipped'], 1)
    self.assertEqual(metrics['skipped'].dtype, jnp.float32)
    named = _named_terms(metrics)
    self.assertContainsSubset(terms, named)
    for part, num, rows in (
        ('strong', _NUM_STRONG, strong), ('weak', _NUM_WEAK, weak)):
      flags = metrics['nonfinite'][part]
      self.assertEqual(flags.shape, (num,))
      np.testing.assert_array_equal(np.flatnonzero(flags), rows, part)
    return named

  @parameterized.product(
      name=tuple(_STEPS), door=('pixel', 'logit', 'loss'), value=poison.VALUES)
  def test_strong_value(self, name, door, value):
    named = self._assert_skipped(
        name, _poisoned(_batch(1), 'strong', 2, door, value),
        terms={'strong_loss'}, strong=[2])
    if door == 'loss':
      self.assertEqual(named, {'strong_loss'})

  @parameterized.product(
      name=tuple(_STEPS), network=(0, 1), value=poison.VALUES)
  def test_strong_gradient(self, name, network, value):
    named = self._assert_skipped(
        name, _poisoned(_batch(1), 'strong', 2, f'grad_{network}', value),
        # No weak instance is to blame, although no alignment is finite.
        terms={f'strong_grad_{network}'})
    self.assertNotIn('strong_loss', named)
    self.assertNotIn(f'strong_grad_{1 - network}', named)

  @parameterized.product(
      name=tuple(n for n in _STEPS if n != 'co_reg_only'),
      door=('pixel', 'logit', 'loss'), value=poison.VALUES)
  def test_weak_value(self, name, door, value):
    named = self._assert_skipped(
        name, _poisoned(_batch(1), 'weak', 5, door, value),
        terms={'weak_loss'}, weak=[5])
    self.assertFalse([n for n in named if n.startswith('strong')])

  @parameterized.product(
      name=tuple(n for n in _STEPS if n != 'co_reg_only'), network=(0, 1),
      value=poison.VALUES)
  def test_weak_gradient(self, name, network, value):
    # The closed form of the last layer, and uniform weights, do not use this
    # slope.
    steers = _STEPS[name]['name'] in ('dii', 'l2rw', 'meta_weight_net')
    # At step 1, the indicators of 'dii_sometimes' do not move.
    due = name != 'dii_sometimes'
    named = self._assert_skipped(
        name, _poisoned(_batch(1), 'weak', 5, f'grad_{network}', value),
        terms={f'weak_grad_{network}', *['alignment'] * (steers and due)},
        weak=[5] if steers and due else [])
    self.assertNotIn('weak_loss', named)

  @parameterized.product(
      name=('dii', 'dii_last_layer', 'l2rw'),
      door=('alignment', 'alignment_slope'), value=poison.VALUES)
  def test_alignment(self, name, door, value):
    named = self._assert_skipped(
        name, _poisoned(_batch(1), 'weak', 5, door, value),
        terms={'alignment'}, weak=[5])
    self.assertNotIn('weak_loss', named)
    self.assertNotIn('strong_loss', named)

  @parameterized.parameters('uniform', 'dii_per_instance', 'co_reg_only')
  def test_a_loss_that_is_not_used_does_no_harm(self, name):
    batch = _batch(1)
    for door in 'alignment', 'alignment_slope':
      batch = _poisoned(batch, 'weak', 5, door)
      _, metrics = _step(name)(_after_one_step(name), batch, _KEY)
      self.assertEqual(metrics['skipped'], 0)
      self.assertEqual(_named_terms(metrics), set())

  def test_an_alignment_loss_does_no_harm_when_indicators_rest(self):
    batch = _poisoned(_batch(1), 'weak', 5, 'alignment')
    # The indicators move at even steps, and this is step 1.
    _, metrics = _step('dii_sometimes')(
        _after_one_step('dii_sometimes'), batch, _KEY)
    self.assertEqual(metrics['skipped'], 0)
    self.assertEqual(_named_terms(metrics), set())
    np.testing.assert_array_equal(
        np.flatnonzero(metrics['nonfinite']['weak']), [5])

  @parameterized.product(door=('pixel', 'logit'), value=poison.VALUES)
  def test_pseudo_label(self, door, value):
    self._assert_skipped(
        'co_reg_only', _poisoned(_batch(1), 'weak', 5, door, value),
        terms={'co_reg_loss'}, weak=[5])

  @parameterized.product(network=(0, 1), value=poison.VALUES)
  def test_co_reg_gradient(self, network, value):
    named = self._assert_skipped(
        'co_reg_only',
        _poisoned(_batch(1), 'weak', 5, f'grad_{network}', value), terms=())
    self.assertEqual(named, {f'co_reg_grad_{network}', 'update'})

  @parameterized.parameters(*poison.VALUES)
  def test_nan_in_a_pseudo_label_at_an_unlabelled_pixel(self, value):
    # The pixel is unlabelled, so no loss with labels uses the logit. But the
    # argmax of the other network's teacher does.
    batch = _batch(1)
    batch.weak.label[5, 2, 3] = types.UNLABELLED
    named = self._assert_skipped(
        'dii', _poisoned(batch, 'weak', 5, 'logit', value),
        terms={'co_reg_loss'}, weak=[5])
    self.assertNotIn('weak_loss', named)

  def _with_indicator(self, name, value, batch, *, in_batch):
    """Returns the state after a step with one bad indicator, and its row."""
    state, ids = _after_one_step(name), np.arange(tiny.NUM_WEAK)
    row = ids[np.isin(ids, batch.weak.instance_id) == in_batch][0]
    table = state.indicators.weights.at[row].set(value)
    return state._replace(
        indicators=state.indicators._replace(weights=table)), row

  @parameterized.product(name=tuple(_STEPS), value=poison.VALUES)
  def test_indicator_handed_in(self, name, value):
    batch = _batch(1)
    state, _ = self._with_indicator(name, value, batch, in_batch=True)
    self._assert_skipped(name, batch, terms={'indicator'}, state=state)

  @parameterized.parameters(*_STEPS)
  def test_indicator_of_another_batch_does_no_harm(self, name):
    # A step looks at the indicators of its batch alone: a table may be long.
    batch, key = _batch(1), jax.random.key(7)
    state, row = self._with_indicator(name, np.inf, batch, in_batch=False)
    new, metrics = _step(name)(state, batch, key)
    self.assertEqual(metrics['skipped'], 0)
    self.assertEqual(new.indicators.weights[row], np.inf)
    wanted, _ = _step(name)(_after_one_step(name), batch, key)
    chex.assert_trees_all_equal(new.params, wanted.params)

  def test_finite_gradient_of_infinite_square(self):
    # The second moment of Adam overflows, so that its update is 0. Only the
    # state shows the bad number.
    named = self._assert_skipped(
        'uniform', _poisoned(_batch(1), 'strong', 2, 'grad_1', 1e25), terms=())
    self.assertEqual(named, {'update'})

  def test_parameter_that_overflows(self):
    state = _after_one_step('uniform')
    conv = state.params[1]['conv'].at[0, 0, 0, 0].set(np.inf)
    params = (state.params[0], state.params[1] | {'conv': conv})
    named = self._assert_skipped(
        'uniform', _batch(1), state=state._replace(params=params),
        terms={'update', 'strong_grad_1'}, strong=range(_NUM_STRONG),
        weak=range(_NUM_WEAK))
    self.assertNotIn('strong_grad_0', named)

  def test_two_bad_instances_are_both_named(self):
    batch = _poisoned(_batch(1), 'weak', 0, 'loss', np.inf)
    batch = _poisoned(batch, 'weak', 7, 'logit', -np.inf)
    batch = _poisoned(batch, 'strong', 3, 'pixel', np.nan)
    self._assert_skipped(
        'dii', batch, terms={'strong_loss', 'weak_loss'}, strong=[3],
        weak=[0, 7])

  @parameterized.parameters(*_STEPS)
  def test_run_equals_the_run_without_the_bad_updates(self, name):
    bad = {1: ('weak', 3, 'grad_0', np.inf), 2: ('strong', 0, 'pixel', np.nan),
           4: ('weak', 7, 'logit', -np.inf)}
    state = other = _init_state(name)
    in_a_row = []
    for i in range(6):
      batch = _poisoned(_batch(i), *bad[i]) if i in bad else _batch(i)
      state, metrics = _step(name)(state, batch, _KEY)
      self.assertEqual(metrics['skipped'], i in bad)
      in_a_row.append(int(state.num_skipped_in_a_row))
      if i in bad:
        other = other._replace(step=other.step + 1)
      else:
        other, _ = _step(name)(other, batch, _KEY)
    self.assertEqual(in_a_row, [0, 1, 2, 0, 1, 0])
    self.assertEqual(state.num_skipped, 3)
    self.assertEqual(state.step, 6)
    self.assertTrue(guards.all_finite(state))
    _assert_bitwise(state._replace(num_skipped=other.num_skipped), other)
    self.assertFalse(any(x.weak_type for x in jax.tree.leaves(state)))
    if name.startswith('dii'):
      self.assertGreater(np.ptp(state.indicators.weights), 0.05)


@functools.cache
def _after_one_step(name):
  return _step(name)(_init_state(name), _batch(0), _KEY)[0]


def _assert_bitwise(tree, other):
  chex.assert_trees_all_equal_shapes_and_dtypes(tree, other)
  for x, y in zip(*map(jax.tree.leaves, (tree, other)), strict=True):
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes(), (x, y)


class DevicesTest(parameterized.TestCase):

  @parameterized.parameters('jit', 'pmap')
  def test_a_bad_number_on_one_device_skips_on_all(self, kind):
    num_devices = 4
    mapping = parallel.make_mapping(kind, devices=jax.devices()[:num_devices])
    step = mapping.step(_make_step('dii', mapping.axis_name))
    key = mapping.replicate(_KEY)
    run = lambda state, batch: step(
        mapping.replicate(state), mapping.place_batch(batch), key)

    on_device = lambda x, d: np.asarray(x.addressable_shards[d].data)
    on_each_device = lambda tree: [
        jax.tree.map(functools.partial(on_device, d=d), tree)
        for d in range(num_devices)]

    state = jax.device_get(run(_init_state(), _batch(0))[0])
    self.assertEqual(state.num_skipped, 0)
    for case, terms, strong, weak in (
        (('weak', 5, 'logit', np.nan), {'weak_loss', 'alignment'}, [], [5]),
        (('weak', 6, 'alignment_slope', np.inf), {'alignment'}, [], [6]),
        (('weak', 0, 'grad_1', np.nan), {'weak_grad_1', 'alignment'}, [], [0]),
        (('strong', 3, 'loss', -np.inf), {'strong_loss'}, [3], []),
        (('strong', 1, 'grad_0', np.nan), {'strong_grad_0'}, [], []),
    ):
      new, metrics = run(state, _poisoned(_batch(1), *case))
      metrics_of = on_each_device(metrics)
      for d, one in enumerate(on_each_device(new)):
        _assert_bitwise(one, state._replace(
            step=np.int32(2), num_skipped=np.int32(1),
            num_skipped_in_a_row=np.int32(1)))
        _assert_bitwise(metrics_of[d], metrics_of[0])
      self.assertEqual(metrics_of[0]['skipped'], 1)
      self.assertContainsSubset(terms, _named_terms(metrics_of[0]))
      for part, rows in ('strong', strong), ('weak', weak):
        np.testing.assert_array_equal(
            np.flatnonzero(metrics_of[0]['nonfinite'][part]), rows)
    new, metrics = run(state, _batch(1))
    self.assertEqual(jax.device_get(metrics['skipped']), 0)
    for one in on_each_device(new)[1:]:
      _assert_bitwise(one, on_each_device(new)[0])


if __name__ == '__main__':
  absltest.main()
