"""Tests for hybridseg.indicator_grads."""

import functools

from absl.testing import absltest
from absl.testing import parameterized
import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import indicators
from hybridseg import weighting
from tests import jaxprs

_NUM_WEAK, _BATCH = 20, 8
_IDS = jnp.arange(2, 2 + _BATCH, dtype=jnp.int32)
_RATES = dict(step_size=0.1, learning_rate=0.2)
_ROWS, _ALL = jax.sharding.PartitionSpec('batch'), jax.sharding.PartitionSpec()


def _losses_and_mean(params, x, y):
  hidden = jnp.tanh(x @ params['hidden'])
  losses = optax.softmax_cross_entropy_with_integer_labels(
      hidden @ params['output'], y)
  return losses, jnp.mean(hidden)


def _args():
  x, strong_x, hidden, output = (
      jax.random.normal(key, shape) for key, shape in zip(
          jax.random.split(jax.random.key(0), 4),
          ((_BATCH, 5), (4, 5), (5, 6), (6, 3)), strict=True))
  weak = x, jnp.arange(_BATCH) % 3
  return {'hidden': hidden, 'output': output}, (
      indicators.init_indicators(_NUM_WEAK, value=0.5)), weak, (
          strong_x, jnp.arange(4) % 3), _IDS


def _at_once(params, state, weak, strong, ids, *, axis_name=None):

  def strong_fn(p):
    losses, mean = _losses_and_mean(p, *strong)
    return jnp.mean(losses), mean

  return hybridseg.indicator_value_and_grad(
      lambda p: _losses_and_mean(p, *weak), strong_fn, params, state, ids,
      **_RATES, has_aux=True, axis_name=axis_name)


def _one_after_another(params, state, weak, strong, ids, *, method='grad'):
  weak_fn = lambda p: _losses_and_mean(p, *weak)[0]
  strong_fn = lambda p: jnp.mean(_losses_and_mean(p, *strong)[0])
  slopes = hybridseg.lookahead_weight_grads(
      weak_fn, strong_fn, params, indicators.gather_indicators(state, ids),
      step_size=0.1, method=method)
  state = hybridseg.update_indicators(
      state, ids, weighting.unit_rms(slopes), learning_rate=0.2)
  weights = indicators.gather_indicators(state, ids)
  loss, grads = jax.value_and_grad(
      lambda p: strong_fn(p) + jnp.mean(weights * weak_fn(p)))(params)
  return loss, grads, state, weights, slopes, weak_fn(params)


def _num_passes(fn, *args):
  """Counts how often a program applies the network to the weak batch."""
  jaxpr = jax.make_jaxpr(fn)(*args).jaxpr
  return sum(
      eqn.primitive.name == 'tanh' and eqn.invars[0].aval.shape[0] == _BATCH
      for eqn in jaxprs.equations(jaxpr))


class IndicatorValueAndGradTest(parameterized.TestCase):

  def test_by_hand(self):
    # With weak = (3 p, -4 p) and strong = p, the slopes are -(0.5 / 2) (3, -4).
    # Their root mean square is 0.25 sqrt(12.5).
    results = hybridseg.indicator_value_and_grad(
        lambda p: jnp.array([3.0, -4.0]) * p, lambda p: p, jnp.float32(2),
        indicators.init_indicators(3, value=0.5), jnp.array([2, 0]),
        step_size=0.5, learning_rate=0.1)
    w = 0.5 + 0.1 * np.array([3, -4]) / np.sqrt(12.5)
    np.testing.assert_allclose(results.slopes, [-0.75, 1])
    np.testing.assert_allclose(results.weights, w, rtol=1e-6)
    np.testing.assert_allclose(results.state.weights, [w[1], 0.5, w[0]], 1e-6)
    np.testing.assert_array_equal(results.state.num_updates, [1, 0, 1])
    np.testing.assert_allclose(results.losses, [6, -8])
    np.testing.assert_allclose(
        results.loss, 2 + (6 * w[0] - 8 * w[1]) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        results.grads, 1 + (3 * w[0] - 4 * w[1]) / 2, rtol=1e-6)
    self.assertIsNone(results.aux)

  @parameterized.parameters('jit', 'pmap', 'shard_map')
  def test_equals_the_calls_one_after_another(self, mapping):
    args = params, state, weak, strong, ids = _args()
    expected = jax.jit(_one_after_another)(*args)
    fn = functools.partial(_at_once, axis_name='batch')
    if mapping == 'jit':
      found = jax.jit(_at_once)(*args)
    elif mapping == 'pmap':
      shards = hybridseg.parallel.shard_batch((weak, strong, ids), 4)
      found = jax.pmap(fn, 'batch', in_axes=(None, None, 0, 0, 0))(
          params, state, *shards)
      first = lambda tree: jax.tree.map(lambda x: x[0], tree)
      found = found._replace(
          loss=found.loss[0], grads=first(found.grads),
          state=first(found.state),
          **{name: getattr(found, name).reshape(-1)
             for name in ('weights', 'slopes', 'losses')})
    else:  # shard_map infers which results are the same on all shards.
      found = jax.jit(jax.shard_map(
          lambda *args: fn(*args)[:6],
          mesh=jax.sharding.Mesh(jax.devices(), 'batch'),
          in_specs=(_ALL, _ALL, _ROWS, _ROWS, _ROWS),
          out_specs=(_ALL, _ALL, _ALL, _ROWS, _ROWS, _ROWS)))(*args)
    self.assertGreater(np.ptp(expected[3]), 0.1)
    for x, y in zip(jax.tree.leaves(tuple(found)[:6]),
                    jax.tree.leaves(expected), strict=True):
      np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)
    if mapping == 'jit':
      for x, data in zip(found.aux, (weak, strong), strict=True):
        np.testing.assert_allclose(
            x, _losses_and_mean(params, *data)[1], rtol=1e-6)

  def test_one_forward_pass_on_the_weak_batch(self):
    args = _args()
    self.assertEqual(_num_passes(_at_once, *args), 1)
    # Leave out the losses, which are returned only for the test above.
    separate = lambda *args: _one_after_another(*args, method='forward')[:5]
    self.assertEqual(_num_passes(separate, *args), 3)

  def test_instances_without_an_indicator_and_other_leaves(self):
    params = {'w': jnp.float32(2), 'name': 'linear', 'count': jnp.int32(3)}
    results = hybridseg.indicator_value_and_grad(
        lambda p: jnp.array([3.0, -4.0]) * p['w'], lambda p: p['w'], params,
        indicators.init_indicators(1, value=0.5), np.array([-1, 0]),
        inner_optimizer=optax.adam(0.1, eps_root=1e-8), learning_rate=0.0)
    np.testing.assert_allclose(results.weights, [1, 0.5])
    np.testing.assert_allclose(results.grads['w'], 1 + (3 - 2) / 2)
    self.assertIsNone(results.grads['name'])
    self.assertIsNone(results.grads['count'])

  @parameterized.parameters((2, np.inf), (np.nan, 1))
  def test_nothing_moves_by_what_is_not_finite(self, *factors):
    state = indicators.init_indicators(3, value=0.5)
    results = hybridseg.indicator_value_and_grad(
        lambda p: jnp.array(factors) * p, lambda p: p, jnp.float32(2), state,
        jnp.array([2, 0]), **_RATES)
    np.testing.assert_array_equal(results.state.weights, state.weights)
    self.assertFalse(np.isfinite(results.loss))
    self.assertFalse(np.isfinite(results.grads))

  def test_refuses(self):
    state, ids = indicators.init_indicators(3), jnp.array([0, 1])
    call = functools.partial(
        hybridseg.indicator_value_and_grad, params=jnp.float32(2), state=state,
        instance_ids=ids, learning_rate=0.1)
    weak_fn, strong_fn = lambda p: p * jnp.ones(2), lambda p: p
    for message, weak, strong, options in (
        (r'weak_losses_fn returns shape \(3,\)', lambda p: p * jnp.ones(3),
         strong_fn, dict(step_size=0.1)),
        (r'strong_loss_fn returns shape \(2,\)', weak_fn, weak_fn,
         dict(step_size=0.1)),
        ('weak_losses_fn returns a tuple', lambda p: (weak_fn(p), 1), strong_fn,
         dict(step_size=0.1)),
        ('weak_losses_fn must return a pair', weak_fn, strong_fn,
         dict(step_size=0.1, has_aux=True)),
        ('step_size', weak_fn, strong_fn, {})):
      with self.assertRaisesRegex(ValueError, message):
        call(weak, strong, **options)


if __name__ == '__main__':
  absltest.main()
