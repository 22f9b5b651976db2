"""Tests for hybridseg.meta_weight_net."""

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import meta_weight_net
from hybridseg import weighting

from tests import long_only

# There are two units, relu(x) and relu(1 - x). The logit is 2 * the first unit
# - the second unit.
_PARAMS = {
    'hidden': {'kernel': jnp.array([[1.0, -1.0]]), 'bias': jnp.array([0.0, 1])},
    'output': {'kernel': jnp.array([[2.0], [-1.0]]), 'bias': jnp.array([0.0])},
}
# The values are sigmoid(-1) and sigmoid(2).
_LOSSES, _VALUES = np.array([0.0, 1.0]), np.array([0.268941, 0.880797])


class BatchWeightsTest(absltest.TestCase):

  def test_hand_computed(self):
    np.testing.assert_allclose(
        meta_weight_net.batch_weights(_PARAMS, jnp.asarray(_LOSSES)),
        _VALUES / _VALUES.mean(), rtol=1e-5)

  def test_one_instance_has_weight_1_whatever_the_network(self):
    one = jnp.array([1.0])
    self.assertEqual(meta_weight_net.batch_weights(_PARAMS, one), 1)
    chex.assert_trees_all_close(
        meta_weight_net.strong_slopes(_PARAMS, one, jnp.array([3.0])),
        jax.tree.map(jnp.zeros_like, _PARAMS), atol=1e-6)

  def test_all_0_stays_0(self):
    params = _PARAMS | {'output': {
        'kernel': jnp.zeros((2, 1)), 'bias': jnp.array([-200.0])}}
    np.testing.assert_array_equal(
        meta_weight_net.batch_weights(params, jnp.asarray(_LOSSES)), [0, 0])
    # With a nan, the mean is unknown, and so are all weights.
    np.testing.assert_array_equal(
        meta_weight_net.batch_weights(_PARAMS, jnp.array([np.nan, 1])),
        [np.nan, np.nan])


class StrongSlopesTest(absltest.TestCase):

  def test_hand_computed(self):
    # Let v' = v (1 - v) be the slope of v by the output's bias, and u = v1' v2
    # - v1 v2'. Then w1 = 2 v1 / (v1 + v2) has the slope 2 u / (v1 + v2)^2, and
    # w2 has minus this slope.
    (v1, v2), (d1, d2) = _VALUES, _VALUES * (1 - _VALUES)
    slope = 2 * (d1 * v2 - v1 * d2) / (v1 + v2) ** 2
    self.assertAlmostEqual(slope, 0.219286, places=5)
    grads = meta_weight_net.strong_slopes(
        _PARAMS, jnp.asarray(_LOSSES), jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(grads['output']['bias'], [-slope], rtol=1e-4)
    # The first unit is active only for the second loss, so only the slope of v2
    # counts.
    second = -2 * v1 * d2 / (v1 + v2) ** 2
    np.testing.assert_allclose(
        grads['output']['kernel'][0], [-second], rtol=1e-4)

  def test_equals_the_gradient_through_the_lookahead(self):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 4)), rng.normal(size=6)
    strong_x, strong_y = rng.normal(size=(3, 4)), rng.normal(size=3)
    theta = jnp.asarray(rng.normal(size=4))
    phi = jax.tree.map(
        lambda p: jnp.asarray(rng.normal(scale=0.3, size=p.shape)),
        meta_weight_net.init_weight_net(jax.random.key(0)).params)
    weak_fn = lambda t: jnp.square(jnp.tanh(x @ t) - y)
    strong_fn = lambda t: jnp.mean(
        jnp.square(jnp.tanh(strong_x @ t) - strong_y))
    step_size, values = 0.3, weak_fn(theta)

    def after_lookahead(phi):
      weights = meta_weight_net.batch_weights(phi, values)
      inner = jax.grad(lambda t: jnp.mean(weights * weak_fn(t)))(theta)
      return strong_fn(theta - step_size * inner)

    expected = jax.grad(after_lookahead)(phi)
    slopes = weighting.lookahead_weight_grads(
        weak_fn, strong_fn, theta, meta_weight_net.batch_weights(phi, values),
        step_size=step_size)
    self.assertGreater(np.abs(expected['output']['kernel']).max(), 2e-4)
    chex.assert_trees_all_close(
        meta_weight_net.strong_slopes(phi, values, -6 * slopes), expected,
        rtol=1e-4, atol=1e-8)


class WeighTest(parameterized.TestCase):

  def _batch(self):
    rng = np.random.default_rng(1)
    return (jnp.asarray(rng.uniform(0, 2, size=8), jnp.float32),
            jnp.asarray(rng.normal(size=8), jnp.float32))

  def test_first_step_is_adams(self):
    net = meta_weight_net.init_weight_net(jax.random.key(0))
    losses, alignments = self._batch()
    weights, new = meta_weight_net.weigh(
        net, losses, alignments, learning_rate=0.01)
    grads = jax.tree.map(
        lambda g, p: g + 1e-4 * p, meta_weight_net.strong_slopes(
            net.params, losses, alignments), net.params)
    chex.assert_trees_all_close(
        new.params, jax.tree.map(
            lambda p, g: p - 0.01 * g / (jnp.abs(g) + 1e-8), net.params, grads),
        atol=1e-5)
    # The weights come from the updated network.
    np.testing.assert_array_equal(
        weights, meta_weight_net.batch_weights(new.params, losses))
    self.assertAlmostEqual(float(weights.mean()), 1, places=5)

  @parameterized.parameters(*long_only.first_of(((4,), (1,), (2,))))
  def test_shards_equal_single(self, num_shards):
    net = meta_weight_net.init_weight_net(jax.random.key(0))
    batch = self._batch()
    single = meta_weight_net.weigh(net, *batch, learning_rate=0.01)
    weights, new = jax.vmap(
        lambda l, a: meta_weight_net.weigh(
            net, l, a, learning_rate=0.01, axis_name='batch'),
        axis_name='batch')(*(x.reshape(num_shards, -1) for x in batch))
    np.testing.assert_allclose(weights.reshape(-1), single[0], rtol=1e-6)
    for shard in range(num_shards):
      chex.assert_trees_all_close(
          jax.tree.map(lambda x, i=shard: x[i], new), single[1], rtol=1e-6)

  def test_learns_to_distrust_the_losses_that_harm(self):
    net = meta_weight_net.init_weight_net(jax.random.key(0))
    losses = jnp.array([0.1, 0.2, 1.5, 1.8])
    step = jax.jit(lambda n: meta_weight_net.weigh(
        n, losses, jnp.array([1.0, 1, -1, -1]), learning_rate=0.01))
    for _ in range(200):
      weights, net = step(net)
    self.assertGreater(weights[:2].min(), 1)
    self.assertLess(weights[2:].max(), 0.1)


class InitTest(absltest.TestCase):

  def test_one_hidden_layer_of_100_units(self):
    params = meta_weight_net.init_weight_net(jax.random.key(0)).params
    self.assertEqual(
        jax.tree.map(np.shape, params),
        {'hidden': {'kernel': (1, 100), 'bias': (100,)},
         'output': {'kernel': (100, 1), 'bias': (1,)}})
    for name, bound in ('hidden', 1), ('output', 0.1):
      largest = np.abs(params[name]['kernel']).max()
      self.assertBetween(largest, 0.9 * bound, bound)


if __name__ == '__main__':
  absltest.main()
