"""Tests for hybridseg.microbatches: a batch in parts equals the whole batch."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import indicator_grads
from hybridseg import indicators
from hybridseg import microbatches
from hybridseg import weighting

_NUM = 3  # Number of parts, each of two instances.


def _losses(params, x, y):
  return jnp.square(jnp.tanh(x @ params['a']) @ params['b'] - y)


def _problem():
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  params = {'a': draw(4, 5), 'b': draw(5)}
  return params, (draw(6, 4), draw(6)), (draw(6, 4), draw(6)), abs(draw(6))


class MicrobatchesTest(parameterized.TestCase):

  def test_hand_computed(self):
    fn = microbatches.over_microbatches(
        lambda p, i: {'loss': p * jnp.array([1.0, 2.0]) + i}, 2)
    np.testing.assert_array_equal(
        fn(jnp.float32(3))['loss'], [[3, 6], [4, 7]])
    slope = jax.grad(lambda p: jnp.sum(fn(p)['loss']))(jnp.float32(3))
    self.assertEqual(slope, 6)

  @parameterized.product(
      method=weighting.METHODS,
      inner=(dict(step_size=0.3),
             dict(inner_optimizer=optax.sgd(0.3, momentum=0.9))))
  def test_slopes_are_those_of_the_whole_batch(self, method, inner):
    params, weak, strong, weights = _problem()
    options = dict(method=method, has_aux=True, **inner)
    whole, (logits, _) = weighting.lookahead_weight_grads(
        lambda p: (_losses(p, *weak), weak[1]),
        lambda p: (jnp.mean(_losses(p, *strong)), None), params, weights,
        **options)
    split = lambda data: [x.reshape(_NUM, 2, *x.shape[1:]) for x in data]
    weak, strong = split(weak), split(strong)
    part = lambda data, i: (x[i] for x in data)
    found, (parts, _) = jax.jit(lambda: weighting.lookahead_weight_grads(
        lambda p, i: (_losses(p, *part(weak, i)), weak[1][i]),
        lambda p, i: (jnp.mean(_losses(p, *part(strong, i))), None), params,
        weights, num_microbatches=_NUM, **options))()
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(parts.ravel(), logits)

  @parameterized.parameters(1, 2, 3, 6)
  def test_one_call_moves_the_indicators_of_the_whole_batch(self, num):
    params, weak, strong, _ = _problem()
    state = indicators.init_indicators(8, value=0.5)
    # Two instances have no indicator.
    ids = jnp.array([7, -1, 2, 3, -1, 0])
    split = lambda data: [x.reshape(num, -1, *x.shape[1:]) for x in data]
    part = lambda data, i: (x[i] for x in split(data))
    weak_fn = microbatches.over_microbatches(
        lambda p, i: _losses(p, *part(weak, i)), num)
    strong_fn = microbatches.over_microbatches(
        lambda p, i: jnp.mean(_losses(p, *part(strong, i))), num)
    options = dict(learning_rate=0.1, step_size=0.3)
    whole = indicator_grads.indicator_value_and_grad(
        lambda p: _losses(p, *weak), lambda p: jnp.mean(_losses(p, *strong)),
        params, state, ids, **options)
    found = jax.jit(lambda: indicator_grads.indicator_value_and_grad(
        lambda p: jnp.ravel(weak_fn(p)), lambda p: jnp.mean(strong_fn(p)),
        params, state, ids, **options))()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        found, whole)
    np.testing.assert_array_equal(
        found.state.num_updates, [1, 0, 1, 1, 0, 0, 0, 1])

  def test_slopes_of_a_part_alone_are_too_large(self):
    # As the docstring says; at weights 0, M times exactly.
    params, weak, strong, weights = _problem()
    slopes = lambda data, w: weighting.lookahead_weight_grads(
        lambda p: _losses(p, *data), lambda p: jnp.mean(_losses(p, *strong)),
        params, w, step_size=0.3)
    whole = slopes(weak, 0 * weights)
    alone = slopes([x[:2] for x in weak], jnp.zeros(2))
    np.testing.assert_allclose(alone, _NUM * whole[:2], rtol=1e-4)

  def test_holds_the_activations_of_one_part(self):
    def bytes_of(num):
      x = jnp.ones((num, 64 // num, 200))
      losses = lambda p, i: jnp.sum(jnp.tanh(jnp.sin(p * x[i])), axis=1)
      fn = jax.jit(lambda p: weighting.lookahead_weight_grads(
          losses, lambda p, i: jnp.mean(losses(p, i)), p, jnp.zeros(64),
          step_size=0.1, num_microbatches=num))
      memory = fn.lower(jnp.ones((1, 200))).compile().memory_analysis()
      return memory.temp_size_in_bytes
    self.assertLess(bytes_of(8), 0.4 * bytes_of(1))

  def test_refuses_parts_that_do_not_fit(self):
    slopes = lambda fn, num: weighting.lookahead_weight_grads(
        fn, lambda p, i: p, jnp.float32(1), jnp.zeros(6), step_size=0.1,
        num_microbatches=num)
    with self.assertRaisesRegex(ValueError, '6 weights .*num_microbatches=4'):
      slopes(lambda p, i: p * jnp.ones(2), 4)
    with self.assertRaisesRegex(ValueError, r'shape \(6,\): .*shape \(2,\)'):
      slopes(lambda p, i: p * jnp.ones(6), 3)
    for num in (0, -3):
      with self.assertRaisesRegex(ValueError, 'not positive'):
        slopes(lambda p, i: p * jnp.ones(6), num)


if __name__ == '__main__':
  absltest.main()
