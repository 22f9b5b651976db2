"""Tests for hybridseg.inner_optimizers, with every optimiser of optax."""

import functools
import inspect

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import inner_optimizers
from hybridseg import weighting
import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax import contrib

from tests import long_only

_EPS_ROOT = 'pass eps_root > 0, as optax.adam'
_NO_EPS_ROOT = 'lookahead would be nan: use optax.sgd'
_SIGN = 'All slopes would be 0: the update .* does not follow the gradient'
_ALONE = 'makes no update of gradients and parameters alone'
# Maps each refused optimiser to the reason.
_REFUSED = {
    'adafactor': _NO_EPS_ROOT, 'adam': _EPS_ROOT, 'adamw': _EPS_ROOT,
    'amsgrad': _EPS_ROOT, 'lamb': _EPS_ROOT, 'lbfgs': _ALONE, 'lion': _SIGN,
    'nadam': _EPS_ROOT, 'nadamw': _EPS_ROOT, 'novograd': _NO_EPS_ROOT,
    'optimistic_adam': _EPS_ROOT,
    'optimistic_adam_v2': _EPS_ROOT, 'polyak_sgd': _ALONE, 'radam': _EPS_ROOT,
    'rprop': _SIGN, 'sign_sgd': _SIGN, 'signum': _SIGN,
    'contrib.ademamix': _EPS_ROOT, 'contrib.galore': _EPS_ROOT,
    'contrib.madgrad': _NO_EPS_ROOT, 'contrib.momo': _ALONE,
    'contrib.muon': _NO_EPS_ROOT, 'contrib.prodigy': _NO_EPS_ROOT,
    'contrib.schedule_free_adamw': _NO_EPS_ROOT, 'contrib.sophia': _ALONE}


def _aliases():
  """Yields the names of the optimisers in the installed version of optax."""
  for name, fn in vars(optax).items():
    # The function nadam, for example, is a functools.partial.
    fn = getattr(fn, 'func', fn)
    if inspect.isfunction(fn) and fn.__module__.endswith('.alias'):
      yield name
  for name in ('acprop', 'ademamix', 'adopt', 'cocob', 'dog', 'dowg', 'galore',
               'madgrad', 'momo', 'muon', 'prodigy', 'schedule_free_adamw',
               'schedule_free_sgd', 'sophia'):
    if hasattr(contrib, name):
      yield f'contrib.{name}'


def _make(name, **options):
  module = contrib if name.startswith('contrib.') else optax
  fn = getattr(module, name.removeprefix('contrib.'))
  names = inspect.signature(fn).parameters
  options |= {'key': jax.random.key(0)} if 'key' in names else {}
  if 'init_step' in names:
    options |= {'init_step': ('distance', 0.1)}
  options |= {'learning_rate': 0.1} if 'learning_rate' in names else {}
  return fn(**options)


def _losses(params, data):
  """Returns squared errors of a linear model, [B]; one parameter is unused."""
  output = data[:, :3] @ params['matrix'] @ jnp.ones(2, data.dtype)
  return jnp.square(output + params['bias'] - data[:, 3])


def _problem():
  rng = np.random.default_rng(0)
  params = {'matrix': rng.normal(size=(3, 2)), 'bias': rng.normal(size=1),
            'unused': np.ones(2)}
  return jax.tree.map(jnp.asarray, (
      params, rng.normal(size=(3, 4)), rng.normal(size=(2, 4)),
      rng.random(3),
      jax.tree.map(lambda x: 10 * rng.normal(size=x.shape), params)))


def _slopes_and_difference(optimizer):
  """Returns slopes by both methods, [B], and the slope along all weights."""
  params, weak, strong, weights, history = _problem()
  history['unused'] *= 0
  weak_fn = lambda p: _losses(p, weak)
  strong_fn = lambda p: jnp.mean(_losses(p, strong))
  state = optimizer.init(params)
  for _ in range(2):
    updates, state = optimizer.update(history, state, params)
    params = optax.apply_updates(params, updates)

  def solve(method):
    return weighting.lookahead_weight_grads(
        weak_fn, strong_fn, params, weights, inner_optimizer=optimizer,
        inner_opt_state=state, method=method)

  def after(w):
    grads = jax.grad(lambda p: jnp.mean(w * weak_fn(p)))(params)
    updates, _ = optimizer.update(grads, state, params)
    return strong_fn(optax.apply_updates(params, updates))

  difference = (after(weights + 1e-6) - after(weights - 1e-6)) / 2e-6
  return solve('forward'), solve('grad'), difference


class EveryOptimizerTest(parameterized.TestCase):

  def _assert_right(self, optimizer):
    forward, grad, difference = jax.jit(
        functools.partial(_slopes_and_difference, optimizer))()
    scale = np.abs(grad).max()
    self.assertGreater(scale, 1e-7)
    np.testing.assert_allclose(forward, grad, rtol=1e-6, atol=1e-6 * scale)
    # The error is the rounding of the difference of two losses of about 100,
    # 1e-14 / 1e-6.
    np.testing.assert_allclose(
        np.sum(forward), difference, rtol=1e-4, atol=1e-4 * scale + 1e-8)

  @parameterized.parameters(*_aliases())
  def test_is_right_or_refused(self, name):
    with jax.enable_x64(True):
      optimizer = _make(name)
      if name not in _REFUSED:
        return self._assert_right(optimizer)
      with self.assertRaisesRegex(ValueError, _REFUSED[name]) as caught:
        inner_optimizers.check_inner_optimizer(optimizer, _problem()[0])
      self.assertLessEqual(len(str(caught.exception)), 200)
      self.assertNotIn('\n', str(caught.exception))

  @parameterized.parameters(*long_only.first_of(tuple(
      name for name, why in _REFUSED.items()
      if why == _EPS_ROOT and name not in ('radam', 'contrib.galore')), 3))
  def test_what_the_message_recommends_works(self, name):
    with jax.enable_x64(True):
      self._assert_right(_make(name, eps_root=1e-4))

  def test_is_compiled_once_for_an_optimizer(self):
    calls = []

    def update(grads, _):
      calls.append(grads)
      return jax.tree.map(lambda g: 2 * g, grads)

    optimizer, params = optax.stateless(update), _problem()[0]
    inner_optimizers.check_inner_optimizer(optimizer, params)
    number = len(calls)
    inner_optimizers.check_inner_optimizer(optimizer, params)
    jax.jit(lambda p: inner_optimizers.check_inner_optimizer(optimizer, p))(
        params)
    self.assertLen(calls, number)

  def test_radam(self):
    # The third update takes the root of a negative number in a branch that is
    # then discarded, but its derivative is nan nevertheless.
    with self.assertRaisesRegex(ValueError, 'at its update 3'):
      inner_optimizers.check_inner_optimizer(
          optax.radam(0.1, eps_root=1e-4), _problem()[0])


if __name__ == '__main__':
  absltest.main()
