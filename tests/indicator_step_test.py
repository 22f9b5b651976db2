"""Tests for hybridseg.indicator_step."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from hybridseg import indicator_step
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
from tests import tiny_step as tiny


def _make_step(weighting, axis_name=None):
  return indicator_step.make_indicator_step(
      tiny.apply_tiny, num_classes=tiny.NUM_CLASSES,
      features_fn=tiny.features_tiny, supervision=tiny.SUPERVISION,
      weighting=weighting, axis_name=axis_name)


class IndicatorStepTest(parameterized.TestCase):

  @parameterized.parameters('dii', 'dii_last_layer')
  def test_moves_as_the_training_step_does_at_the_same_parameters(self, name):
    weighting = train_step_lib.Weighting(
        name=name, learning_rate=0.2, without_common_harm=True)
    state, batch = tiny.init_state(), tiny.random_batch(0)
    key = jax.random.key(1)
    want, _ = jax.jit(tiny.make_step(weighting))(state, batch, key)
    got, _ = jax.jit(_make_step(weighting))(state, batch, key)
    chex.assert_trees_all_close(got.indicators, want.indicators, rtol=1e-5)
    self.assertEqual(int(got.indicators.num_updates.sum()), 4)
    chex.assert_trees_all_equal(
        got._replace(indicators=state.indicators), state)

  def test_what_fills_a_batch_up_moves_nothing(self):
    step = jax.jit(_make_step(train_step_lib.Weighting(name='dii')))
    state, batch = tiny.init_state(), tiny.random_batch(0)
    ids = batch.weak.instance_id.copy()
    ids[2:] = -1
    got, _ = step(state, batch._replace(
        weak=batch.weak._replace(instance_id=ids)), jax.random.key(0))
    whole, _ = step(state, batch, jax.random.key(0))
    moved = np.flatnonzero(np.asarray(got.indicators.num_updates))
    self.assertEqual(set(moved), set(ids[:2]))
    np.testing.assert_array_equal(
        got.indicators.weights[moved], whole.indicators.weights[moved])

  def test_strong_images_may_be_encoded_already(self):
    # Cached features belong to other augmented views of the images.
    step = jax.jit(_make_step(train_step_lib.Weighting(name='dii')))
    state, batch = tiny.init_state(), tiny.random_batch(0)
    encoded = types.Encoded(batch.strong.image, (np.zeros((4, 2, 2, 1)),))
    want, _ = step(state, batch, jax.random.key(0))
    got, _ = step(state, batch._replace(
        strong=batch.strong._replace(image=encoded)), jax.random.key(0))
    chex.assert_trees_all_equal(got.indicators, want.indicators)

  def test_the_training_step_then_moves_none(self):
    state, batch = tiny.init_state(), tiny.random_batch(0)
    moved, _ = jax.jit(tiny.make_step(train_step_lib.Weighting(
        name='dii', instances='all')))(state, batch, jax.random.key(1))
    chex.assert_trees_all_equal(moved.indicators, state.indicators)
    self.assertGreater(float(sum(
        abs(a - b).sum() for a, b in zip(
            jax.tree.leaves(moved.params), jax.tree.leaves(state.params),
            strict=True))), 0)

  def test_four_devices_give_the_numbers_of_one(self):
    weighting = train_step_lib.Weighting(name='dii', learning_rate=0.2)
    state = jax.device_get(tiny.init_state())
    batch = tiny.random_batch(3, num_strong=4, num_weak=8)
    one, _ = jax.jit(_make_step(weighting))(state, batch, jax.random.key(0))
    mapping = parallel.make_mapping('pmap', devices=jax.devices()[:4])
    step = mapping.step(_make_step(weighting, mapping.axis_name))
    four, _ = step(mapping.replicate(state), mapping.place_batch(batch),
                   mapping.replicate(jax.random.key(0)))
    chex.assert_trees_all_close(
        jax.device_get(four.indicators), jax.device_get(one.indicators),
        rtol=1e-5)

  def test_a_rule_without_indicators_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'l2rw' has no indicators"):
      _make_step(train_step_lib.Weighting(name='l2rw'))


if __name__ == '__main__':
  absltest.main()
