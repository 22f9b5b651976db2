"""Tests for hybridseg.loss_functions, and of the slopes of whole modules."""

from absl.testing import absltest
from absl.testing import parameterized
from flax import nnx
from hybridseg import linearization
from hybridseg import loss_functions
from hybridseg import weighting
import jax
import jax.numpy as jnp
import numpy as np
import optax

_X = np.float32([[1, 2], [0, 1], [2, -1]])


def _module(**others):
  """Returns a tree like those of equinox, with parameters among settings."""
  return {'w': jnp.array([0.5, -1.0]), 'step': jnp.array(3),
          'key': jax.random.key(0), 'name': 'linear', 'act': jnp.tanh,
          'rate': 0.5, 'train': True, 'none': None, **others}


def _module_losses(module, x=_X):
  """Returns the squares of tanh(x w) * rate, [B], using every leaf."""
  assert module['name'] == 'linear' and module['train'] is True
  assert isinstance(module['rate'], float)
  noise = jax.random.normal(module['key']) * 0 + module['step'] * 0
  return jnp.square(module['act'](x @ module['w']) * module['rate'] + noise)


def _slopes(params, weak_fn, strong_fn, **options):
  options = {'step_size': 0.1} | options
  return weighting.lookahead_weight_grads(
      weak_fn, strong_fn, params, jnp.ones(3), **options)


def _strong(fn):
  return lambda params: jnp.mean(fn(params))


class SplitFloatsTest(absltest.TestCase):

  def test_takes_what_jax_grad_takes(self):
    tree = {'a': 1.0, 'b': np.ones(2, np.float32), 'c': jnp.bfloat16(1)}
    floats, merge = loss_functions.split_floats(tree)
    self.assertIs(floats, tree)
    self.assertIs(merge(floats), tree)

  def test_of_a_module_the_float_arrays_alone(self):
    module = _module(layers=[{'b': np.ones(1)}, (2, jnp.ones(1, bool))])
    floats, merge = loss_functions.split_floats(module)
    self.assertLen(jax.tree.leaves(floats), 2)
    self.assertIsNone(floats['rate'])
    merged = merge(jax.tree.map(lambda x: x + 1, floats))
    np.testing.assert_array_equal(merged['w'], [1.5, 0])
    np.testing.assert_array_equal(merged['layers'][0]['b'], [2])
    for name in 'step', 'key', 'name', 'act', 'rate', 'train', 'none':
      self.assertIs(merged[name], module[name])

  def test_nothing_to_differentiate(self):
    for tree in {}, {'n': 3, 'name': 'a'}, jnp.arange(3):
      with self.assertRaisesRegex(ValueError, 'no float array.*eqx.partition'):
        loss_functions.split_floats(tree)


class ModuleTest(parameterized.TestCase):

  @parameterized.product(
      method=weighting.METHODS, adam=(True, False), under_jit=(True, False))
  def test_other_leaves_are_left_alone(self, method, adam, under_jit):
    options = {'method': method}
    if adam:
      options |= {'step_size': None,
                  'inner_optimizer': optax.adam(0.1, eps_root=1e-2)}
    module = _module()

    def of_module(w):
      return _slopes({**module, 'w': w}, _module_losses,
                     _strong(_module_losses), **options)

    def of_floats(w):
      fn = lambda p: _module_losses({**module, 'w': p})
      return _slopes(w, fn, _strong(fn), **options)

    if under_jit:
      of_module = jax.jit(of_module)
    np.testing.assert_allclose(
        of_module(module['w']), of_floats(module['w']), rtol=1e-5)

  def test_state_of_the_optimizer_is_that_of_the_floats(self):
    optimizer = optax.sgd(0.1, momentum=0.9)
    floats, _ = loss_functions.split_floats(_module())
    solve = lambda state: _slopes(
        _module(), _module_losses, _strong(_module_losses), step_size=None,
        inner_optimizer=optimizer, inner_opt_state=state)
    np.testing.assert_allclose(
        solve(optimizer.init(floats)), solve(None), rtol=1e-6)
    with self.assertRaisesRegex(ValueError, 'inner_opt_state does not fit'):
      solve(optimizer.init({'w': jnp.ones(2), 'step': jnp.array(3)}))

  def test_linearised(self):
    module = _module()
    one_loss = lambda m, x: _module_losses(m, x[None])[0]
    for linear in (
        linearization.linearize_losses(_module_losses, module),
        linearization.linearize_per_instance(one_loss, module, _X)):
      jacobian = jax.jacrev(lambda w: _module_losses({**module, 'w': w}))(
          module['w'])
      grads = linear.weighted_grads(jnp.array([1.0, 0.0, 2.0]))
      np.testing.assert_allclose(
          grads['w'], jacobian[0] + 2 * jacobian[2], rtol=1e-5)
      self.assertIsNone(grads['name'])
      np.testing.assert_allclose(
          linear.directional(grads), jacobian @ grads['w'], rtol=1e-5)
      np.testing.assert_allclose(
          weighting.linear_weight_grads(
              linear, _strong(_module_losses), module, jnp.ones(3),
              step_size=0.1),
          _slopes(module, _module_losses, _strong(_module_losses)), rtol=1e-5)

  def test_a_string_within_a_jitted_loss(self):
    jitted = jax.jit(lambda module: jnp.ones(3) * module['w'][0])
    with self.assertRaisesRegex(
        ValueError, r"weak_losses_fn traces params\['(act|name)'\].*partition"
    ) as caught:
      _slopes(_module(), jitted, _strong(_module_losses))
    self.assertLessEqual(len(str(caught.exception)), 250)

  def test_type_errors_of_the_caller_are_his(self):
    with self.assertRaisesRegex(TypeError, 'unsupported operand'):
      _slopes(_module(), lambda m: m['w'] + 'a', _strong(_module_losses))


class _Net(nnx.Module):

  def __init__(self):
    rngs = nnx.Rngs(0)
    self.norm = nnx.BatchNorm(2, rngs=rngs)
    self.linear = nnx.Linear(2, 1, rngs=rngs)
    self.drop = nnx.Dropout(0.5, rngs=rngs)

  def __call__(self, x):
    return jnp.square(self.linear(self.drop(self.norm(x))))[:, 0]


class NnxTest(absltest.TestCase):

  def test_module_equals_its_parameters(self):
    net = _Net()
    loss = lambda net: net(_X)
    graphdef, params, rest = nnx.split(net, nnx.Param, ...)
    merged = lambda p: loss(nnx.merge(graphdef, p, rest, copy=True))
    count = net.drop.rngs.count[...]
    np.testing.assert_allclose(
        _slopes(net, loss, _strong(loss)),
        _slopes(params, merged, _strong(merged)), rtol=1e-5)
    self.assertEqual(net.drop.rngs.count[...], count)
    np.testing.assert_array_equal(net.norm.mean[...], np.zeros(2))

  def test_merged_without_a_copy(self):
    graphdef, params, rest = nnx.split(_Net(), nnx.Param, ...)
    merged = lambda p: nnx.merge(graphdef, p, rest)(_X)
    with self.assertRaisesRegex(ValueError, 'copy=True'):
      _slopes(params, merged, _strong(merged))


class AuxTest(parameterized.TestCase):

  @parameterized.parameters(*weighting.METHODS)
  def test_aux_of_both(self, method):
    # weak_k = (p - k)^2 at p = 1, strong = p^2 at theta': slopes of the test
    # at hand; aux are p and theta' = 1 - 0.1 * mean(2, 0, -2) = 1.
    weak = lambda p: (p - jnp.arange(3.0)) ** 2
    strong = lambda p: p**2
    slopes, (weak_aux, strong_aux) = _slopes(
        jnp.ones(()), lambda p: (weak(p), {'p': p, 'n': 7}),
        lambda p: (strong(p), [3 * p]), method=method, has_aux=True)
    np.testing.assert_allclose(slopes, [-0.4 / 3, 0, 0.4 / 3], rtol=1e-6)
    np.testing.assert_allclose(weak_aux['p'], 1)
    self.assertEqual(weak_aux['n'], 7)
    np.testing.assert_allclose(strong_aux, [3], rtol=1e-6)

  def test_aux_of_linear_weight_grads(self):
    linear = linearization.linearize_losses(
        lambda p: (p * jnp.ones(3), 'any'), jnp.ones(()), has_aux=True)
    self.assertEqual(linear.aux, 'any')
    slopes, aux = weighting.linear_weight_grads(
        linear, lambda p: (p**2, p), jnp.ones(()), jnp.ones(3), step_size=0.5,
        has_aux=True)
    np.testing.assert_allclose(aux, 0.5)
    np.testing.assert_allclose(slopes, np.full(3, -0.5 / 3), rtol=1e-6)

  @parameterized.product(
      method=weighting.METHODS, which=('weak_losses_fn', 'strong_loss_fn'))
  def test_pair_and_has_aux_do_not_agree(self, method, which):
    weak, strong = lambda p: p * jnp.ones(3), lambda p: p
    pair = lambda fn: lambda p: (fn(p), p)
    weak_first = which == 'weak_losses_fn'
    with self.assertRaisesRegex(
        ValueError, f'{which} returns a tuple of 2: pass has_aux=True'):
      _slopes(jnp.ones(()), pair(weak) if weak_first else weak,
              strong if weak_first else pair(strong), method=method)
    with self.assertRaisesRegex(
        ValueError, f'With has_aux, {which} must return a pair'):
      _slopes(jnp.ones(()), weak if weak_first else pair(weak),
              pair(strong) if weak_first else strong, method=method,
              has_aux=True)

  def test_linearised_without_has_aux(self):
    with self.assertRaisesRegex(ValueError, r'int32 \(3,\).*has_aux=True'):
      linearization.linearize_losses(
          lambda p: (p * jnp.ones(3), jnp.arange(3)), jnp.ones(()))
    with self.assertRaisesRegex(ValueError, 'a tuple of 2: pass has_aux=True'):
      linearization.linearize_per_instance(
          lambda p, x: (p * x, x), jnp.ones(()), jnp.ones(3))


class WhatLossesReturnTest(parameterized.TestCase):

  @parameterized.product(method=weighting.METHODS, shape=((4,), (1,)))
  def test_strong_losses_instead_of_their_mean(self, method, shape):
    with self.assertRaisesRegex(
        ValueError, rf'strong_loss_fn returns shape \({shape[0]},\): .*mean'):
      _slopes(jnp.ones(()), lambda p: p * jnp.ones(3),
              lambda p: p * jnp.ones(shape), method=method)

  @parameterized.parameters(*weighting.METHODS)
  def test_no_floats(self, method):
    with self.assertRaisesRegex(ValueError, 'returns int32'):
      _slopes(jnp.ones(()), lambda p: jnp.arange(3), lambda p: p,
              method=method)
    with self.assertRaisesRegex(ValueError, 'returns dict: .* instance'):
      _slopes(jnp.ones(()), lambda p: {'loss': p}, lambda p: p, method=method)

  def test_other_losses_than_weights(self):
    linear = linearization.linearize_losses(
        lambda p: p * jnp.ones(2), jnp.ones(()))
    with self.assertRaisesRegex(ValueError, r'shape \(2,\).*\(3,\)'):
      weighting.linear_weight_grads(
          linear, lambda p: p, jnp.ones(()), jnp.ones(3), step_size=0.1)


class PrecisionTest(parameterized.TestCase):
  # At p = 1: weak_k = k p, strong = 2 p^2, weights 1: theta' = 1 - 0.5 * 1 =
  # 1/2, so that the slopes are -(0.5 / 3) * 2 * k; all but 1/3 is exact.

  @parameterized.product(
      method=weighting.METHODS,
      weak=('bfloat16', 'float16', 'float32'),
      strong=('bfloat16', 'float16', 'float32'),
      weights=('bfloat16', 'float16', 'float32', 'int32', 'bool'),
      params=('bfloat16', 'float32'))
  def test_mixed(self, method, weak, strong, weights, params):
    if {weak, strong} & {'float16'} and weak != strong != 'float32':
      return  # The other combinations are enough.
    weak_fn = lambda p: (p * jnp.arange(3, dtype=p.dtype)).astype(weak)
    with jax.numpy_dtype_promotion('strict'):
      slopes = weighting.lookahead_weight_grads(
          weak_fn, lambda p: (2 * jnp.square(p)).astype(strong),
          jnp.ones((), params), jnp.ones(3, weights), step_size=0.5,
          method=method)
    self.assertEqual(
        slopes.dtype, weights if 'float' in weights else 'float32')
    exact = {weak, strong, params, str(slopes.dtype)} == {'float32'}
    np.testing.assert_allclose(
        np.float32(slopes), [0, -1 / 3, -2 / 3], rtol=1e-6 if exact else 2e-2)

  def test_float32_losses_keep_their_digits(self):
    # The parameters and the losses are float32; only the weights are rounded.
    weak = lambda p: p * jnp.array([1.0, 1.0001, 1.0])
    slopes = [
        weighting.lookahead_weight_grads(
            weak, lambda p: p**2, jnp.ones(()), jnp.ones(3, dtype),
            step_size=0.5)
        for dtype in ('float32', 'bfloat16')]
    np.testing.assert_allclose(
        slopes[0], -1 / 6 * np.array([1.0, 1.0001, 1.0]), rtol=1e-4)
    np.testing.assert_allclose(
        slopes[1].astype('float32'), slopes[0], rtol=4e-3)

  @parameterized.parameters('bfloat16', 'float16')
  def test_linearised_per_instance(self, dtype):
    linear = linearization.linearize_per_instance(
        lambda p, x: (p * x).astype(dtype), jnp.ones(()), jnp.arange(3.0))
    np.testing.assert_array_equal(
        linear.weighted_grads(jnp.ones(3, 'float32')), 3)
    slopes = linear.directional(jnp.array(2.0))
    self.assertEqual(slopes.dtype, dtype)
    np.testing.assert_array_equal(slopes.astype('float32'), [0, 2, 4])

  @parameterized.parameters(*weighting.METHODS)
  def test_clipping_at_weights_0_in_float16(self, method):
    slopes = weighting.lookahead_weight_grads(
        lambda p: jnp.sum(p) * jnp.arange(3, dtype='float16'),
        lambda p: jnp.sum(p), jnp.ones(2, 'float16'), jnp.zeros(3),
        inner_optimizer=optax.chain(
            optax.clip_by_global_norm(1.0), optax.sgd(0.5)), method=method)
    np.testing.assert_allclose(slopes, [0, -1 / 3, -2 / 3], rtol=2e-3)


if __name__ == '__main__':
  absltest.main()
