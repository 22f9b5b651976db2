"""Tests that all functions that turn slopes into weights keep one contract."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import indicators
from hybridseg import weighting


def _update_and_gather(slopes, *, axis_name=None):
  """Returns the indicators of a batch after one update from the value 0.5."""
  shard = 0 if axis_name is None else jax.lax.axis_index(axis_name)
  ids = shard * slopes.size + jnp.arange(slopes.size)
  state = indicators.init_indicators(_BATCH, value=0.5)
  state = indicators.update_indicators(
      state, ids, slopes, learning_rate=0.1, axis_name=axis_name)
  return indicators.gather_indicators(state, ids)


_BATCH = 8
# Each function takes the slopes of the strong loss, [B], and `axis_name`. It
# returns one value per instance, [B].
_WEIGHTINGS = {
    'l2rw_weights': weighting.l2rw_weights,
    'unit_rms': weighting.unit_rms,
    'indicators': _update_and_gather,
}


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
    self.assertEqual(np.ptp(values), 0)  # Nothing distinguishes the instances.

  @parameterized.product(name=tuple(_WEIGHTINGS), num_shards=(1, 2, 4))
  def test_shards_equal_single(self, name, num_shards):
    rule, slopes = _WEIGHTINGS[name], self._slopes()
    sharded = jax.vmap(
        functools.partial(rule, axis_name='batch'), axis_name='batch'
    )(slopes.reshape(num_shards, -1))
    np.testing.assert_allclose(sharded.reshape(-1), rule(slopes), rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
