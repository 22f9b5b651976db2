"""Tests for hybridseg.indicators."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import indicators


def _state(*weights):
  return indicators.init_indicators(len(weights))._replace(
      weights=jnp.array(weights, jnp.float32))


class InitIndicatorsTest(parameterized.TestCase):

  def test_trusts_all_at_first(self):
    np.testing.assert_array_equal(indicators.init_indicators(2).weights, [1, 1])

  def test_values_and_dtypes(self):
    state = indicators.init_indicators(3, value=0.5)
    np.testing.assert_array_equal(state.weights, [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(state.num_updates, [0, 0, 0])
    self.assertEqual(state.weights.dtype, jnp.float32)
    self.assertEqual(state.num_updates.dtype, jnp.int32)
    # A weakly typed state would make JAX compile the second step again.
    self.assertFalse(any(x.weak_type for x in state))

  @parameterized.parameters(3.0, -0.1, np.nan)
  def test_refuses_a_value_outside_the_unit_interval(self, value):
    with self.assertRaisesRegex(ValueError, rf'\[0, 1\].*{value}'):
      indicators.init_indicators(2, value=value)


class GatherIndicatorsTest(absltest.TestCase):

  def test_gathered_by_instance_id(self):
    np.testing.assert_array_equal(
        indicators.gather_indicators(
            _state(0.0, 0.25, 0.5), jnp.array([2, 0])), [0.5, 0.0])

  def test_no_indicator_counts_in_full(self):
    state = _state(0.0, 0.25, 0.5)
    for ids in ([-1, 3, 7, -2, 1], [-1, 3, 127, -128, 1]):
      for dtype in (jnp.int32, jnp.int8):
        np.testing.assert_array_equal(
            jax.jit(indicators.gather_indicators)(
                state, jnp.array(ids, dtype)), [1, 1, 1, 1, 0.25])
    self.assertEqual(indicators.gather_indicators(
        indicators.init_indicators(500, value=0.5),
        jnp.array([127], jnp.int8)), 0.5)  # An int8 cannot hold 500.

  def test_no_indicator_in_a_short_numpy_type_is_no_other_row(self):
    # In an int8, 300 becomes 44.
    state = indicators.init_indicators(300, value=0.5)
    ids = np.array([-1, 3], np.int8)
    np.testing.assert_array_equal(
        indicators.gather_indicators(state, ids), [1, 0.5])
    moved = indicators.update_indicators(
        state, ids, jnp.ones(2), learning_rate=0.1)
    np.testing.assert_array_equal(np.flatnonzero(moved.num_updates), [3])

  def test_refuses_what_is_no_id(self):
    for ids, said in (
        ([0, 2], '2 is not a row of 2'), ([-2], '-2 is not a row'),
        # In 32 bits, this would be row 1.
        (np.array([2**32 + 1]), '4294967297 is not a row'),
        ([0.0], 'float'), (jnp.array([True]), 'bool'), (jnp.ones(1), 'float')):
      with self.assertRaisesRegex(ValueError, said):
        indicators.gather_indicators(_state(0.5, 0.5), ids)
      with self.assertRaisesRegex(ValueError, said):
        indicators.update_indicators(
            _state(0.5, 0.5), ids, jnp.ones(len(ids)), learning_rate=0.1)

  def test_long_ids_do_not_wrap(self):
    with jax.enable_x64(True):
      ids = jnp.array([2**32 + 1, 1])
      self.assertEqual(ids.dtype, jnp.int64)
      np.testing.assert_array_equal(
          indicators.gather_indicators(_state(0.5, 0.25), ids), [1, 0.25])


class UpdateIndicatorsTest(parameterized.TestCase):

  def test_hand_computed(self):
    state = indicators.update_indicators(
        _state(0.5, 0.5, 0.5, 0.5), jnp.array([3, 0]),
        jnp.array([-1.0, 2.0]), learning_rate=0.1)
    np.testing.assert_allclose(
        state.weights, [0.3, 0.5, 0.5, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(state.num_updates, [1, 0, 0, 1])

  def test_projects_on_the_unit_interval(self):
    state = indicators.update_indicators(
        _state(0.1, 0.9, 0.5), jnp.arange(3), jnp.array([5.0, -5.0, 0.0]),
        learning_rate=1.0)
    np.testing.assert_array_equal(state.weights, [0.0, 1.0, 0.5])

  def test_a_weight_of_0_can_come_back(self):
    state = indicators.update_indicators(
        _state(0.0), jnp.array([0]), jnp.array([-1.0]), learning_rate=0.1)
    np.testing.assert_allclose(state.weights, [0.1], rtol=1e-6)

  @parameterized.parameters(-1, -2, 3, 4, 2**31 - 1, -2**31)
  def test_an_id_that_is_no_row_moves_nothing(self, wrong):
    state = jax.jit(indicators.update_indicators)(
        _state(0.5, 0.5, 0.5), jnp.array([wrong, 1]), jnp.array([2.0, 1.0]),
        learning_rate=0.1)
    np.testing.assert_allclose(state.weights, [0.5, 0.4, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(state.num_updates, [0, 1, 0])

  def test_slopes_of_one_instance_are_added_up(self):
    state = indicators.update_indicators(
        _state(0.5, 0.5), jnp.array([0, 1, 0, 0]),
        jnp.array([1.0, 1.0, 2.0, -1.0]), learning_rate=0.1)
    np.testing.assert_allclose(state.weights, [0.3, 0.4], rtol=1e-6)
    np.testing.assert_array_equal(state.num_updates, [1, 1])

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_what_is_not_finite_moves_nothing(self, bad):
    ids = jnp.array([0, 1, 2, 2])
    slopes = jnp.array([bad, 1.0, 1.0, bad])
    state = indicators.update_indicators(
        _state(0.5, 0.5, 0.5, 0.5), ids, slopes, learning_rate=0.1)
    np.testing.assert_allclose(state.weights, [0.5, 0.4, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(state.num_updates, [0, 1, 0, 0])
    state = indicators.update_indicators(  # Here, 0 * inf gives nan.
        _state(0.5), jnp.array([0]), jnp.zeros(1), learning_rate=bad)
    np.testing.assert_array_equal(state.weights, [0.5])

  def test_a_step_beyond_float32_ends_at_the_border(self):
    state = indicators.update_indicators(
        _state(0.5, 0.5), jnp.arange(2), jnp.array([1e30, -1e30]),
        learning_rate=1e20)
    np.testing.assert_array_equal(state.weights, [0, 1])

  def test_half_precision_slopes_step_in_single(self):
    # In bfloat16, 0.1 * 0.5 is 0.05005.
    state = indicators.update_indicators(
        _state(0.5), jnp.array([0]), jnp.array([0.5], jnp.bfloat16),
        learning_rate=0.1)
    np.testing.assert_allclose(state.weights, [0.45], rtol=1e-6)

  @parameterized.parameters(
      ((2,), (1,)), ((1,), (2,)), ((1, 1), (1,)), ((1, 1), (1, 1)), ((), ()))
  def test_refuses_other_shapes(self, ids, slopes):
    with self.assertRaises(ValueError) as raised:
      indicators.update_indicators(
          _state(0.5), jnp.zeros(ids, jnp.int32), jnp.zeros(slopes),
          learning_rate=0.1)
    self.assertIn(
        f'ids {ids} and slopes {slopes}', str(raised.exception))

  def test_an_empty_table(self):
    state = indicators.init_indicators(0)
    updated = indicators.update_indicators(
        state, jnp.array([-1, 0]), jnp.ones(2), learning_rate=0.1)
    chex.assert_trees_all_equal(state, updated)
    np.testing.assert_array_equal(
        indicators.gather_indicators(state, jnp.array([-1, 0])), [1, 1])

  def test_keeps_types(self):
    state = indicators.init_indicators(4)
    updated = indicators.update_indicators(
        state, jnp.arange(2), jnp.ones(2), learning_rate=0.1)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, updated)
    self.assertFalse(any(x.weak_type for x in updated))

  def test_shard_map_equals_single(self):
    # The program compiles only if JAX knows that all shards have the same
    # table.
    state = _state(*np.linspace(0, 1, 10))
    batch = jnp.array([7, 2, 9, 0]), jnp.array([1.0, -2.0, 3.0, -4.0])
    rows = jax.sharding.PartitionSpec('batch')
    sharded = jax.shard_map(
        lambda i, s: indicators.update_indicators(
            state, i, s, learning_rate=0.1, axis_name='batch'),
        mesh=jax.sharding.Mesh(jax.devices(), 'batch'), in_specs=(rows, rows),
        out_specs=jax.sharding.PartitionSpec())
    chex.assert_trees_all_equal(
        jax.jit(sharded)(*batch),
        indicators.update_indicators(state, *batch, learning_rate=0.1))

  @parameterized.parameters(1, 2, 4)
  def test_shards_equal_single(self, num_shards):
    state = _state(*np.linspace(0, 1, 10))
    ids, slopes = jnp.array([7, 2, 9, 0]), jnp.array([1.0, -2.0, 3.0, -4.0])
    single = indicators.update_indicators(
        state, ids, slopes, learning_rate=0.1)
    sharded = jax.vmap(
        lambda i, s: indicators.update_indicators(
            state, i, s, learning_rate=0.1, axis_name='batch'),
        axis_name='batch',
    )(ids.reshape(num_shards, -1), slopes.reshape(num_shards, -1))
    for shard in range(num_shards):  # All shards end with the same table.
      chex.assert_trees_all_equal(
          jax.tree.map(lambda x, d=shard: x[d], sharded), single)


class IndicatorHealthTest(parameterized.TestCase):

  @parameterized.parameters(
      ((1.0, 1.0, 1.0, 1.0), 1.0, 0.0, 1.0, 1.0),
      ((0.0, 0.0, 0.0, 0.0), 0.0, 1.0, 0.0, 0.0),
      # One indicator holds all the weight, so the share is 1 / N.
      ((0.0, 0.5, 0.0, 0.0), 0.125, 0.75, 0.0, 0.25),
      # The share is (1 + 1/2)^2 / (4 * (1 + 1/4)) = 2.25 / 5.
      ((1.0, 0.5, 0.0, 0.0), 0.375, 0.5, 0.25, 0.45),
  )
  def test_hand_computed(self, weights, mean, at_0, at_1, effective):
    health = indicators.indicator_health(_state(*weights))
    expected = {'mean': mean, 'share_at_0': at_0, 'share_at_1': at_1,
                'effective_share': effective}
    self.assertEqual(health.keys(), expected.keys())
    for name, value in expected.items():
      np.testing.assert_allclose(health[name], value, rtol=1e-6)

  @parameterized.parameters(*range(5))
  def test_mean_is_the_least_of_them(self, seed):
    # The warning that a run prints relies on this inequality.
    rng = np.random.default_rng(seed)
    weights = rng.uniform(-1, 2, 50).clip(0, 1) * rng.uniform()
    health = indicators.indicator_health(_state(*weights))
    self.assertLessEqual(health['mean'], health['effective_share'])
    self.assertLessEqual(health['mean'], 1 - health['share_at_0'])


if __name__ == '__main__':
  absltest.main()
