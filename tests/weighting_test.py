"""Tests for hybridseg.weighting."""

import functools
from typing import Any, NamedTuple
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import inner_optimizers
from hybridseg import linearization
from hybridseg import losses
from hybridseg import models
from hybridseg import parallel
from hybridseg import types
from hybridseg import weighting
from hybridseg.models import unet
from tests import long_only

_NUM_WEAK, _NUM_STRONG = 4, 2

# If Adam's `eps_root` is small compared with the squared gradients, the update
# resembles the gradient's sign, and its derivative is a difference of nearly
# equal numbers: float32 then loses digits with *all* methods. The squared
# gradients of these problems are about 1e-4 to 1e-1, so float32 is tested with
# an `eps_root` of 1e-2; only float64 is also tested with 1e-8.
_OPTIMIZERS = {
    'sgd': optax.sgd(0.1),
    'momentum': optax.sgd(0.1, momentum=0.9),
    'nesterov': optax.sgd(0.1, momentum=0.9, nesterov=True),
    'adam': optax.adam(0.01, eps_root=1e-2),
    'adam_small_eps_root': optax.adam(0.01, eps_root=1e-8),
    # Most gradients below are longer than these norms, so they are clipped.
    'clip': optax.chain(optax.clip_by_global_norm(0.02), optax.sgd(0.1)),
    'clip_adam': optax.chain(
        optax.clip_by_global_norm(0.05), optax.adam(0.01, eps_root=1e-2)
    ),
}

# Tuples (network, dtype, number of random problems per optimiser, optimisers).
_PROBLEMS = (
    ('mlp', 'float32', 12,
     ('sgd', 'momentum', 'nesterov', 'adam', 'clip', 'clip_adam')),
    ('mlp', 'float64', 12, tuple(_OPTIMIZERS)),
    ('unet_blocks', 'float64', 8,
     long_only.first_of(('adam_small_eps_root', 'clip', 'momentum'))),
    ('unet', 'float32', 12, long_only.first_of(('clip_adam', 'momentum'))),
)


class _Blocks(nn.Module):
  """A U-Net of one level whose logits are float64.

  `models.unet.UNet` itself rounds its logits to float32.
  """

  @nn.compact
  def __call__(self, x):
    x = unet._ConvBlock(4, jnp.float64)(x)  # pylint: disable=protected-access
    return nn.Conv(3, (1, 1), name='head')(x)


class _Problem(NamedTuple):
  """The arrays of a random problem.

  It holds no functions, so one compiled function can solve all problems.
  """

  params: Any
  weak: Any
  strong: Any
  weights: np.ndarray
  opt_state: Any


def _choose(names):
  """Returns an optimiser that acts as one of the optimisers named in `names`.

  An index in its state selects which one.
  """
  optimizers = [_OPTIMIZERS[name] for name in names]

  def init(params):
    return jnp.zeros((), jnp.int32), [o.init(params) for o in optimizers]

  def update(grads, state, params):
    index, states = state
    updates = [
        lambda grads, o=o, s=s: o.update(grads, s, params)[0]
        for o, s in zip(optimizers, states, strict=True)]
    return jax.lax.switch(index, updates, grads), state

  return optax.GradientTransformation(init, update)


def _mlp_losses(params, data):
  """Returns the squared errors of a smooth regression, [B]."""
  x, y = data[:, :3], data[:, 3]
  output = jnp.tanh(x @ params['hidden']) @ params['out'] + params['bias'][None]
  return jnp.square(output[:, 0] - y)


def _mlp(rng):
  """Returns random parameters and data for `_mlp_losses`."""
  shapes = {'hidden': (3, 5), 'out': (5, 1), 'bias': (1,)}
  return {name: rng.normal(size=shape) for name, shape in shapes.items()}, (
      rng.normal(size=(_NUM_WEAK + _NUM_STRONG, 4)))


def _segmentation_losses(network, params, data):
  images, label_map = data
  labels, where = losses.one_hot_labels(label_map, 3)
  return losses.cross_entropy_dice_loss(
      network.apply(params, images), labels.astype(images.dtype), where=where)


@functools.cache
def _param_shapes(network):
  images = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
  return jax.eval_shape(network.init, jax.random.key(0), images)


def _segmentation(network, rng):
  """Returns random parameters and data for `_segmentation_losses`."""
  images = rng.normal(size=(_NUM_WEAK + _NUM_STRONG, 8, 8, 1))
  label_map = rng.integers(3, size=images.shape[:-1])
  label_map[images[..., 0] > 1] = types.UNLABELLED
  params = jax.tree.map(
      lambda x: 0.5 * rng.normal(size=x.shape), _param_shapes(network))
  return params, (images, label_map.astype(np.uint8))


_UNET = models.build('unet', num_classes=3, options={'features': (4, 8)})
_NETWORKS = {
    'mlp': (_mlp_losses, _mlp),
    'unet_blocks': (
        functools.partial(_segmentation_losses, _Blocks()),
        functools.partial(_segmentation, _Blocks())),
    'unet': (
        functools.partial(_segmentation_losses, _UNET),
        functools.partial(_segmentation, _UNET)),
}


@functools.cache
def _compiled(name):
  optimizer = _OPTIMIZERS[name]
  return jax.jit(optimizer.init), jax.jit(optimizer.update)


def _random_problem(network, seed, dtype, names, index):
  """Returns a random problem.

  For odd seeds, the optimiser's state has a history. If seed % 4 is 0 or 1, all
  weights are 0, as in Ren et al., unless the optimiser clips: see
  `test_clipping_at_weights_0`.
  """
  rng = np.random.default_rng(seed)
  cast = lambda tree: jax.tree.map(
      lambda x: x.astype(dtype) if x.dtype == np.float64 else x, tree)
  params, data = cast(_NETWORKS[network][1](rng))
  at_0 = seed % 4 < 2 and 'clip' not in names[index]
  weights = cast(rng.random(_NUM_WEAK)) * (not at_0)
  states = []
  for name in names:
    init, update = _compiled(name)
    state = init(params)
    if seed % 2 and name == names[index]:
      for _ in range(2):
        grads = cast(jax.tree.map(
            lambda x: 0.1 * rng.normal(size=x.shape), params))
        _, state = update(grads, state, params)
    states.append(state)
  return _Problem(
      params=params, weights=weights,
      weak=jax.tree.map(lambda x: x[:_NUM_WEAK], data),
      strong=jax.tree.map(lambda x: x[_NUM_WEAK:], data),
      opt_state=(np.int32(index), states))


def _solve(losses_fn, names, problem, *, method, axis_name=None):
  return weighting.lookahead_weight_grads(
      lambda p: losses_fn(p, problem.weak),
      lambda p: jnp.mean(losses_fn(p, problem.strong)),
      problem.params, problem.weights, inner_optimizer=_choose(names),
      inner_opt_state=problem.opt_state, method=method, axis_name=axis_name)


def _solve_per_instance(losses_fn, names, problem):
  one_loss = lambda p, example: losses_fn(
      p, jax.tree.map(lambda x: x[None], example))[0]
  return weighting.linear_weight_grads(
      linearization.linearize_per_instance(
          one_loss, problem.params, problem.weak),
      lambda p: jnp.mean(losses_fn(p, problem.strong)),
      problem.params, problem.weights, inner_optimizer=_choose(names),
      inner_opt_state=problem.opt_state)


def _finite_differences(losses_fn, names, problem, *, delta):
  """Returns slopes as central differences of the strong loss, [B].

  The strong loss is computed after the update, as a function of the weights.
  """

  def strong_after_update(weights):
    inner = lambda p: weights @ losses_fn(p, problem.weak) / _NUM_WEAK
    updates, _ = _choose(names).update(
        jax.grad(inner)(problem.params), problem.opt_state, problem.params)
    ahead = jax.tree.map(jnp.add, problem.params, updates)
    return jnp.mean(losses_fn(ahead, problem.strong))

  steps = delta * jnp.eye(_NUM_WEAK)
  up, down = (
      jax.lax.map(strong_after_update, problem.weights[None] + s)
      for s in (steps, -steps))
  return (up - down) / (2 * delta)


def solve_many(network, dtype, num_problems, names, *solvers):
  """Returns each solver's slopes of random problems, [problems, B]."""
  losses_fn, _ = _NETWORKS[network]
  with jax.enable_x64(dtype == 'float64'):
    # Compile each solver separately. In one program, the compiler would merge
    # the computations that the methods share, and a comparison would show
    # nothing.
    solvers = [
        jax.jit(functools.partial(solver, losses_fn, names))
        for solver in solvers]
    problems = [
        _random_problem(network, seed, dtype, names, index)
        for index in range(len(names)) for seed in range(num_problems)]
    return [np.stack([solve(p) for p in problems]) for solve in solvers]


def relative_error(actual, desired):
  """Returns each problem's largest error, divided by its largest slope.

  The errors are not divided element by element: a slope is a sum of positive
  and negative products, and where these cancel to almost 0, their rounding
  errors remain.
  """
  scale = np.abs(desired).max(axis=-1)
  return np.abs(actual - desired).max(axis=-1) / scale


class LookaheadWeightGradsTest(parameterized.TestCase):

  @parameterized.parameters(*weighting.METHODS)
  def test_hand_computed(self, method):
    # weak = (p - 1)^2, strong = (p + 1)^2 at p = 0: gradients -2 and +2, so
    # d strong / d w = -0.1 * (+2) * (-2) = 0.4.
    grads = weighting.lookahead_weight_grads(
        lambda p: (p - 1.0) ** 2 * jnp.ones(1), lambda p: (p + 1.0) ** 2,
        jnp.zeros(()), jnp.zeros(1), step_size=0.1, method=method)
    np.testing.assert_allclose(grads, [0.4], rtol=1e-6)

  @parameterized.parameters(*weighting.METHODS)
  def test_hand_computed_at_stored_weights(self, method):
    # weak_1 = (p - 1)^2, weak_2 = p at p = 0: gradients -2 and 1; weights 1 and
    # 1/2 over a batch of 2: g = (-2 + 1/2) / 2 = -3/4, theta' = 3/40. There the
    # strong slope is 2 * (3/40 + 1) = 2.15, and
    # d strong / d w_k = -(0.1 / 2) * 2.15 * (-2, 1).
    grads = weighting.lookahead_weight_grads(
        lambda p: jnp.stack([(p - 1.0) ** 2, p]), lambda p: (p + 1.0) ** 2,
        jnp.zeros(()), jnp.array([1.0, 0.5]), step_size=0.1, method=method)
    np.testing.assert_allclose(grads, [0.215, -0.1075], rtol=1e-6)

  def test_number_of_random_problems(self):
    self.assertGreaterEqual(
        sum(num * len(names) for _, _, num, names in _PROBLEMS), 100)
    self.assertIn('unet', [network for network, *_ in _PROBLEMS])

  @parameterized.parameters(*_PROBLEMS)
  def test_methods_agree(self, network, dtype, num_problems, names):
    # A U-Net for each instance takes half a minute to compile.
    solvers = [_solve_per_instance] * (network != 'unet' or long_only.LONG)
    by_grad, by_forward, *per_instance = solve_many(
        network, dtype, num_problems, names,
        functools.partial(_solve, method='grad'),
        functools.partial(_solve, method='forward'), *solvers)
    self.assertEqual(by_grad.dtype, dtype)
    self.assertEqual(by_grad.shape, (num_problems * len(names), _NUM_WEAK))
    self.assertGreater(np.abs(by_grad).max(axis=-1).min(), 0)
    np.testing.assert_array_less(
        relative_error(by_forward, by_grad),
        {'float32': 1e-5, 'float64': 1e-10}[dtype])
    # 'per_instance' adds the instances in another order, and with an `eps_root`
    # of 1e-8, Adam's slope loses up to 6 digits to cancellation: see
    # `_OPTIMIZERS`.
    for found in per_instance:
      np.testing.assert_array_less(
          relative_error(found, by_grad),
          {'float32': 1e-5, 'float64': 1e-9}[dtype])

  def test_equals_finite_differences(self):
    names = ('sgd', 'momentum', 'nesterov', 'adam', 'clip', 'clip_adam')
    slopes, differences = solve_many(
        'mlp', 'float64', 12, names,
        functools.partial(_solve, method='forward'),
        functools.partial(_finite_differences, delta=1e-5))
    # The truncation error (delta^2 = 1e-10 times third derivatives) and the
    # rounding error (1e-16 / delta) of the differences are below 1e-6.
    np.testing.assert_array_less(relative_error(slopes, differences), 1e-6)

  def _mlp_problem(self, seed=2):
    """Returns weak losses, strong loss, params and weights in float32."""
    problem = _random_problem('mlp', seed, 'float32', ('sgd',), 0)
    problem = jax.tree.map(jnp.asarray, problem)
    return (
        lambda p: _mlp_losses(p, problem.weak),
        lambda p: jnp.mean(_mlp_losses(p, problem.strong)),
        problem.params, problem.weights)

  @parameterized.parameters(('forward', 1), ('grad', 0))
  def test_only_the_closed_form_linearises(self, method, num_calls):
    # All methods return the same numbers but differ in cost.
    with mock.patch.object(
        linearization, 'linearize_losses',
        wraps=linearization.linearize_losses) as linearize:
      weighting.lookahead_weight_grads(
          *self._mlp_problem(), step_size=0.1, method=method)
    self.assertEqual(linearize.call_count, num_calls)

  @parameterized.parameters(*weighting.METHODS)
  def test_step_size_is_sgd(self, method):
    solve = functools.partial(
        weighting.lookahead_weight_grads, *self._mlp_problem(), method=method)
    np.testing.assert_array_equal(
        solve(step_size=0.1), solve(inner_optimizer=optax.sgd(0.1)))

  def test_equals_inner_product_of_gradients(self):
    weak_losses_fn, strong_loss_fn, params, _ = self._mlp_problem()
    strong = jax.grad(strong_loss_fn)(params)
    weak = jax.jacrev(weak_losses_fn)(params)
    products = sum(
        jnp.sum(weak[name] * strong[name][None], range(1, weak[name].ndim))
        for name in params)
    np.testing.assert_allclose(
        weighting.lookahead_weight_grads(
            weak_losses_fn, strong_loss_fn, params, jnp.zeros(_NUM_WEAK),
            step_size=0.1),
        -0.1 / _NUM_WEAK * products, rtol=1e-5)

  @parameterized.product(
      method=weighting.METHODS,
      name=long_only.first_of(('clip_adam', 'momentum')))
  def test_shards_equal_single(self, method, name):
    # The results would differ if Adam or clipping used the gradient of one
    # shard instead of the mean over all shards.
    solve, problem = self._sharded_problem(method, name)
    axes = _Problem(params=None, weak=0, strong=0, weights=0, opt_state=None)
    shards = parallel.shard_batch(
        {k: getattr(problem, k) for k in ('weak', 'strong', 'weights')}, 4)
    shard = functools.partial(solve, axis_name='batch')
    single = jax.jit(solve)(problem)
    over = lambda map_fn: map_fn(shard, axis_name='batch', in_axes=(axes,))
    for mapped in over(jax.pmap), over(jax.vmap), jax.jit(over(jax.vmap)):
      np.testing.assert_allclose(
          mapped(problem._replace(**shards)).reshape(-1), single,
          rtol=1e-5, atol=1e-5 * np.abs(single).max())

  def _sharded_problem(self, method, name):
    """Returns a solver, and a problem whose shards differ."""
    problem = jax.tree.map(
        jnp.asarray, _random_problem('mlp', 3, 'float32', (name,), 0))
    problem = problem._replace(strong=jnp.tile(problem.strong, (2, 1)))
    problem = problem._replace(strong=problem.strong + jnp.arange(4.0)[:, None])
    return functools.partial(
        _solve, _mlp_losses, (name,), method=method), problem

  @parameterized.product(
      method=weighting.METHODS, name=('momentum', 'clip_adam'),
      check_vma=(True, False))
  def test_shard_map_equals_single(self, method, name, check_vma):
    # With check_vma, shard_map itself sums the gradients of replicated values.
    solve, problem = self._sharded_problem(method, name)
    everywhere, rows = (
        jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec('batch'))
    specs = _Problem(
        params=everywhere, weak=rows, strong=rows, weights=rows,
        opt_state=everywhere)
    mapped = jax.jit(jax.shard_map(
        functools.partial(solve, axis_name='batch'),
        mesh=jax.sharding.Mesh(jax.devices(), 'batch'), in_specs=(specs,),
        out_specs=rows, check_vma=check_vma))
    single = jax.jit(solve)(problem)
    np.testing.assert_allclose(
        mapped(problem), single, rtol=1e-5, atol=1e-5 * np.abs(single).max())

  def test_linearised_elsewhere_in_shard_map(self):
    _, problem = self._sharded_problem('forward', 'sgd')
    rows = jax.sharding.PartitionSpec('batch')

    def slopes(params, weak, strong, *, cast):
      at = jax.lax.pcast(params, 'batch', to='varying') if cast else params
      linear = linearization.linearize_losses(
          lambda p: _mlp_losses(p, weak), at)
      return weighting.linear_weight_grads(
          linear, lambda p: jnp.mean(_mlp_losses(p, strong)), params,
          jnp.ones(len(weak)), step_size=0.1, axis_name='batch')

    mapped = lambda cast: jax.jit(jax.shard_map(
        functools.partial(slopes, cast=cast),
        mesh=jax.sharding.Mesh(jax.devices(), 'batch'),
        in_specs=(jax.sharding.PartitionSpec(), rows, rows), out_specs=rows))
    args = problem.params, problem.weak, problem.strong
    single = weighting.lookahead_weight_grads(
        lambda p: _mlp_losses(p, problem.weak),
        lambda p: jnp.mean(_mlp_losses(p, problem.strong)),
        problem.params, jnp.ones(_NUM_WEAK), step_size=0.1)
    np.testing.assert_allclose(mapped(True)(*args), single, rtol=1e-4)
    with self.assertRaisesRegex(ValueError, 'pcast'):  # JAX refuses it.
      mapped(False)(*args)

  @parameterized.parameters(*weighting.METHODS)
  def test_clipping_at_weights_0(self, method):
    # With weights of 0, the gradient and its norm are 0. Nothing is clipped, so
    # the slopes equal those of plain SGD.
    *functions, params, weights = self._mlp_problem()
    solve = lambda **kwargs: jax.jit(lambda params, weights: (
        weighting.lookahead_weight_grads(
            *functions, params, weights, method=method, **kwargs)
    ))(params, 0 * weights)
    np.testing.assert_allclose(
        solve(inner_optimizer=_OPTIMIZERS['clip']), solve(step_size=0.1),
        rtol=1e-5)


class RefusalsTest(parameterized.TestCase):

  def _solve(self, weights=2, **kwargs):
    return weighting.lookahead_weight_grads(
        lambda p: (p - jnp.arange(2.0)) ** 2, lambda p: p[0] ** 2, jnp.ones(1),
        jnp.zeros(weights), **kwargs)

  @parameterized.parameters(True, False)
  def test_adam_without_eps_root(self, under_jit):
    solve = functools.partial(self._solve, inner_optimizer=optax.adam(0.1))
    with self.assertRaisesRegex(ValueError, 'eps_root'):
      jax.jit(solve)() if under_jit else solve()

  def test_chained_adam_without_eps_root(self):
    with self.assertRaisesRegex(ValueError, 'eps_root'):
      self._solve(inner_optimizer=optax.chain(
          optax.clip_by_global_norm(1.0), optax.adamw(0.1)))

  @parameterized.parameters(0, 1, 2, 3)
  def test_an_optimizer_that_minds_the_rank(self, rank):
    root = lambda g: jnp.sqrt(g) if jnp.ndim(g) == rank else g
    optimizer = optax.stateless(lambda grads, _: jax.tree.map(root, grads))
    for other in range(4):
      params = {'a': jnp.ones((2,) * other)}
      if other == rank:
        with self.assertRaisesRegex(ValueError, 'no finite derivative'):
          inner_optimizers.check_inner_optimizer(optimizer, params)
      else:
        inner_optimizers.check_inner_optimizer(optimizer, params)

  @parameterized.parameters(*_OPTIMIZERS)
  def test_accepts(self, name):
    params = {'matrix': jnp.ones((2, 3)), 'scalar': jnp.ones(())}
    inner_optimizers.check_inner_optimizer(_OPTIMIZERS[name], params)

  def test_weights_of_another_rank(self):
    with self.assertRaisesRegex(ValueError, r'rank 1.*\(2, 1\)'):
      self._solve(weights=(2, 1), step_size=0.1)

  def test_weights_of_another_length(self):
    with self.assertRaisesRegex(ValueError, r'\(2,\).*\(3,\)'):
      self._solve(weights=3, step_size=0.1)

  def test_unknown_method(self):
    with self.assertRaisesRegex(ValueError, "'reverse'.*'grad', 'forward'"):
      self._solve(step_size=0.1, method='reverse')

  @parameterized.parameters(
      {}, {'step_size': 0.1, 'inner_optimizer': optax.sgd(0.1)})
  def test_not_exactly_one_inner_step(self, **kwargs):
    with self.assertRaisesRegex(ValueError, 'exactly one'):
      self._solve(**kwargs)


class LastLayerAlignmentsTest(absltest.TestCase):

  def test_hand_computed(self):
    # There is one pixel with the features (1, 2, 1). The strong gradient is
    # [[1, 0], [0, 3], [5, 7]] for the kernel and (10, 20) for the bias, so the
    # logits change in the direction (16, 33). The losses are the sum of the
    # logits, and the first logit.
    alignments = weighting.last_layer_alignments(
        lambda x: jnp.stack([jnp.sum(x[0]), x[1, 0, 0]]),
        jnp.zeros((2, 1, 2)), jnp.tile(jnp.array([1.0, 2.0, 1.0]), (2, 1, 1)),
        {'kernel': jnp.array([[[1.0, 0.0], [0.0, 3.0], [5.0, 7.0]]]),
         'bias': jnp.array([10.0, 20.0])})
    np.testing.assert_allclose(alignments, [49, 16])

  def test_refuses_another_layer(self):
    with self.assertRaisesRegex(ValueError, r'\(3, 3, 2, 2\).*\(1, 4, 2\)'):
      weighting.last_layer_alignments(
          jnp.sum, jnp.zeros((1, 4, 2)), jnp.zeros((1, 4, 2)),
          {'kernel': jnp.zeros((3, 3, 2, 2)), 'bias': jnp.zeros(2)})


class L2rwWeightsTest(parameterized.TestCase):

  def test_hand_computed(self):
    np.testing.assert_allclose(
        weighting.l2rw_weights(jnp.array([-1.0, 2.0, -3.0, 0.0])),
        [0.25, 0, 0.75, 0], rtol=1e-6)

  def test_nothing_helps(self):
    np.testing.assert_array_equal(
        weighting.l2rw_weights(jnp.array([1.0, 0.0, 2.0])), [0, 0, 0])
    np.testing.assert_array_equal(  # A nan makes the sum unknown.
        weighting.l2rw_weights(jnp.array([np.nan, -7.0])), [np.nan, np.nan])

  @parameterized.parameters(1e-20, 1e-6, 1, 1e6)
  def test_sum_to_1_at_any_scale(self, scale):
    slopes = scale * jax.random.normal(jax.random.key(0), (16,))
    weights = weighting.l2rw_weights(slopes)
    np.testing.assert_allclose(jnp.sum(weights), 1, rtol=1e-6)
    np.testing.assert_array_equal(weights[slopes > 0], 0)


class OverShardsTest(parameterized.TestCase):

  @parameterized.product(
      rule=(weighting.l2rw_weights, weighting.without_common_harm,
            weighting.unit_rms), num_shards=(1, 2, 4))
  def test_equals_single(self, rule, num_shards):
    # The values have a negative mean, and each shard has a different mean.
    values = jax.random.normal(jax.random.key(0), (8,)) - jnp.arange(8.0)
    mapped = jax.vmap(
        functools.partial(rule, axis_name='batch'), axis_name='batch',
    )(values.reshape(num_shards, -1))
    np.testing.assert_allclose(
        mapped.reshape(-1), rule(values), rtol=1e-6, atol=1e-6)


class WithoutCommonHarmTest(absltest.TestCase):

  def test_hand_computed(self):
    np.testing.assert_allclose(
        weighting.without_common_harm(jnp.array([1.0, -2.0, -5.0])),
        [3, 0, -3])

  def test_common_help_stays(self):
    alignments = jnp.array([3.0, -1.0, 1.0])
    np.testing.assert_array_equal(
        weighting.without_common_harm(alignments), alignments)

  def test_at_rest_all_instances_seem_to_harm(self):
    # Let strong = p^2, weak_k = (p - x_k)^2 and x = (1, 3). The minimum of
    # strong + mean_k weak_k is at p = mean(x) / 2 = 1, where the strong
    # gradient is 2 and the weak gradients are 0 and -4.
    slopes = weighting.lookahead_weight_grads(
        lambda p: (p - jnp.array([1.0, 3.0])) ** 2, lambda p: p**2,
        jnp.ones(()), jnp.zeros(2), step_size=1.0)
    np.testing.assert_allclose(-slopes, [0, -4])
    np.testing.assert_allclose(
        weighting.without_common_harm(-slopes), [2, -2])


class UnitRmsTest(absltest.TestCase):

  def test_hand_computed(self):
    # sqrt((9 + 16) / 2) = 5 / sqrt(2).
    np.testing.assert_allclose(
        weighting.unit_rms(jnp.array([3.0, -4.0])),
        np.sqrt(2) * np.array([0.6, -0.8]), rtol=1e-6)

  def test_0_stays_0(self):
    np.testing.assert_array_equal(weighting.unit_rms(jnp.zeros(3)), [0, 0, 0])
    # A nan makes the scale unknown, so all values must become nan.
    np.testing.assert_array_equal(
        weighting.unit_rms(jnp.array([np.nan, 1])), [np.nan, np.nan])


if __name__ == '__main__':
  absltest.main()
