"""Tests for hybridseg.mapped_axis: no shard is mistaken for the whole batch."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import guards
from hybridseg import indicators
from hybridseg import mapped_axis
from hybridseg import meta_weight_net
from hybridseg import train_step
from hybridseg import weighting

_NUM = 4
_ROWS = jax.sharding.PartitionSpec('batch')


def _lookahead(x, method, n):
  return weighting.lookahead_weight_grads(
      lambda p: p * x, lambda p: jnp.mean(p * x), jnp.float32(1),
      jnp.zeros_like(x), step_size=0.1, method=method, axis_name=n)


def _update(x, n):
  state = indicators.init_indicators(8, value=0.5)
  return indicators.update_indicators(
      state, jnp.zeros(x.shape, jnp.int32), x, learning_rate=0.1,
      axis_name=n).weights[:2]


# Maps a name to a function that takes a shard's rows, [B], and axis_name.
_CALLS = {
    'forward': lambda x, n: _lookahead(x, 'forward', n),
    'grad': lambda x, n: _lookahead(x, 'grad', n),
    'l2rw_weights': lambda x, n: weighting.l2rw_weights(-x, axis_name=n),
    'unit_rms': lambda x, n: weighting.unit_rms(x, axis_name=n),
    'without_common_harm': lambda x, n: weighting.without_common_harm(
        -x, axis_name=n),
    'gather_rows': lambda x, n: guards.gather_rows(x, axis_name=n)[:2],
    'update_indicators': _update,
    'instance_keys': lambda x, n: jax.random.key_data(
        train_step.instance_keys(jax.random.key(0), x.size, axis_name=n)),
    'meta_weight_net': lambda x, n: meta_weight_net.weigh(
        meta_weight_net.init_weight_net(jax.random.key(0)), x, x,
        learning_rate=0.1, axis_name=n)[0],
}


def _pmap(fn, x):
  devices = jax.devices()[:_NUM]
  return jax.pmap(fn, 'batch', devices=devices)(x.reshape(_NUM, -1))


def _shard_map(fn, x):
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:_NUM]), 'batch')
  return jax.eval_shape(jax.shard_map(
      fn, mesh=mesh, in_specs=_ROWS, out_specs=_ROWS, check_vma=False), x)


class MappedAxisTest(parameterized.TestCase):

  @parameterized.product(name=sorted(_CALLS), over=(_pmap, _shard_map))
  def test_a_forgotten_axis_is_refused(self, name, over):
    x = jnp.arange(1.0, 9)
    with self.assertRaisesRegex(
        ValueError, r"over .* 'batch': pass axis_name='batch', or .*\(\)"):
      over(functools.partial(_CALLS[name], n=None), x)

  @parameterized.parameters(*sorted(_CALLS.keys() - {'meta_weight_net'}))
  def test_shards_that_are_problems_of_their_own(self, name):
    # Each shard must be treated alone: a mean over all shards would differ.
    x = jnp.arange(1.0, 9)
    found = _pmap(functools.partial(_CALLS[name], n=()), x)
    for part, rows in zip(found, x.reshape(_NUM, -1), strict=True):
      np.testing.assert_allclose(part, _CALLS[name](rows, None), rtol=1e-6)

  def test_a_name_may_begin_as_those_of_jax_do(self):
    fn = jax.pmap(weighting.unit_rms, '_batch', devices=jax.devices()[:2])
    with self.assertRaisesRegex(ValueError, "mapped axis '_batch'"):
      fn(jnp.ones((2, 3)))

  def test_a_pmap_without_a_name_has_no_batch_to_share(self):
    x = jnp.arange(1.0, 9).reshape(_NUM, -1)
    unit = jax.pmap(weighting.unit_rms, devices=jax.devices()[:_NUM])(x)
    np.testing.assert_allclose(jnp.mean(unit**2, axis=1), 1, rtol=1e-6)

  def test_a_vmap_with_a_name_is_not_seen(self):
    # The docstring states this limitation. If JAX ever shows such an axis,
    # refuse it like the others.
    x = jnp.arange(1.0, 9).reshape(_NUM, -1)
    unit = jax.vmap(weighting.unit_rms, axis_name='batch')(x)
    np.testing.assert_allclose(jnp.mean(unit**2, axis=1), 1, rtol=1e-6)

  def test_hand_computed(self):
    def fn(x):
      return (mapped_axis.pmean(x, 'batch'), mapped_axis.num_shards('batch'),
              mapped_axis.shard_index('batch'))
    mean, number, index = jax.pmap(
        fn, 'batch', devices=jax.devices()[:2])(jnp.array([1.0, 5.0]))
    np.testing.assert_array_equal(mean, [3, 3])
    np.testing.assert_array_equal(number, [2, 2])
    np.testing.assert_array_equal(index, [0, 1])
    for none in (None, ()):
      self.assertEqual(mapped_axis.pmean(7, none), 7)
      self.assertEqual(mapped_axis.num_shards(none), 1)
      self.assertEqual(mapped_axis.shard_index(none), 0)
      self.assertEqual(mapped_axis.varying(7, none), 7)


if __name__ == '__main__':
  absltest.main()
