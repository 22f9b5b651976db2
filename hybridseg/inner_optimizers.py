"""The inner optimiser of a lookahead, and a check of its derivative."""

from collections.abc import Callable
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import loss_functions
from hybridseg import types

# Names of the states of the optax optimisers that take the option `eps_root`.
_WITH_EPS_ROOT = {
    'ScaleByAdamState', 'ScaleByAmsgradState', 'ScaleByBeliefState',
    'ScaleByAdanState', 'ScaleByAdemamixState',
    'ScaleBySimplifiedAdEMAMixState'}
# Number of updates to check. An early update can be a special case, such as the
# third of RAdam.
_NUM_STEPS = 6
_INSTEAD = 'optax.sgd, optax.adam(..., eps_root=1e-8) or step_size'


def update_fn(
    params: types.Params,
    *,
    step_size: float | None,
    inner_optimizer: optax.GradientTransformation | None,
    inner_opt_state: optax.OptState | None,
) -> Callable[[types.Params], types.Params]:
  """Returns a function that maps a weighted gradient to the lookahead's update.

  Args:
    params: parameters theta, any pytree of floats.
    step_size: learning rate of plain SGD, or None.
    inner_optimizer: any other optimiser, or None.
    inner_opt_state: state of `inner_optimizer` at theta; None starts a fresh
      one.

  Raises:
    ValueError: if not exactly one of `step_size` and `inner_optimizer` is
      given, or if `check_inner_optimizer` refuses the optimiser. The returned
      function raises ValueError if `inner_opt_state` does not fit `params`.
  """
  if (step_size is None) == (inner_optimizer is None):
    raise ValueError('Give exactly one of step_size and inner_optimizer.')
  if inner_optimizer is None:
    inner_optimizer = optax.sgd(step_size)
  else:
    check_inner_optimizer(inner_optimizer, params, opt_state=inner_opt_state)
  if inner_opt_state is None:
    inner_opt_state = inner_optimizer.init(params)

  def inner_update(grads):
    grads = _off_zero(grads)
    try:
      with jax.numpy_dtype_promotion('standard'):  # Optax's Adam needs this.
        return inner_optimizer.update(grads, inner_opt_state, params)[0]
    except (TypeError, ValueError) as error:
      fresh = jax.eval_shape(inner_optimizer.init, params)
      if jax.tree.structure(fresh) == jax.tree.structure(inner_opt_state):
        raise
      raise ValueError(
          'inner_opt_state does not fit params: make it by init(params) of the '
          'optimizer, for a module that holds more than float arrays by '
          'init(eqx.filter(model, eqx.is_inexact_array)).') from error

  return inner_update


def check_inner_optimizer(
    optimizer: optax.GradientTransformation,
    params: types.Params,
    *,
    opt_state: optax.OptState | None = None,
) -> None:
  """Refuses an optimiser whose update has no useful derivative.

  Adam with `eps_root=0` divides by sqrt(nu). Where a gradient is exactly 0, as
  for a dead unit, the derivative of the root is infinite and the slopes of the
  lookahead become nan. Lion uses only the sign of the gradient, so that all
  slopes are 0. They are also 0 for `optax.MultiSteps` on a fresh state, and
  with a learning rate of 0.

  The check solves a tiny problem once, while a program is traced, and costs
  nothing when the program runs. If the state is traced too, its values are
  unknown, and the check accepts every optimiser that has slopes in *some*
  state, such as `optax.MultiSteps`.

  Args:
    optimizer: the inner optimiser.
    params: parameters; only their tree structure and ranks are used.
    opt_state: state of the optimiser; None stands for a fresh one. Only its
      scalars are used, and only if none of them is traced.

  Raises:
    ValueError: if the derivative of `optimizer.update` is 0 or not finite, or
      if the update needs more than gradients and parameters.
  """
  params, _ = loss_functions.split_floats(params)
  # The caller may forbid transfers and dtype promotion in its program, but this
  # check is not part of that program.
  with (jax.ensure_compile_time_eval(), jax.transfer_guard('allow'),
        jax.numpy_dtype_promotion('standard')):
    *zeros, other = _probes(params)
    grads = zeros[0]
    try:
      fresh = optimizer.init(grads)
      slopes = lambda g, state, cotangents: jax.device_get(
          _slopes(optimizer.update, grads, g, state, cotangents))
      at_fresh = [slopes(g, fresh, grads) for g in zeros]
    except (AttributeError, IndexError, NotImplementedError, TypeError,
            ValueError) as e:
      line = (str(e).strip().splitlines() or [''])[0]
      raise ValueError(
          'The inner optimizer makes no update of gradients and parameters '
          f'alone ({line[:60]}): use {_INSTEAD}.') from e
    is_finite = lambda leaves: all(np.isfinite(x).all() for x in leaves)
    if not all(map(is_finite, at_fresh)):
      raise ValueError(_not_finite(_state_names(fresh)))
    for g, count in itertools.product(zeros, range(1, _NUM_STEPS)):
      if not is_finite(slopes(g, _with_counts(fresh, count), grads)):
        raise ValueError(
            'The inner optimizer has no finite derivative at its update '
            f'{count + 1}, so the lookahead would be nan: use {_INSTEAD}.')
    if any(np.any(x) for leaves in at_fresh for x in leaves):
      return
    if not _depends(lambda g: optimizer.update(g, fresh, grads)[0], grads):
      raise ValueError(
          'All slopes would be 0: the update of the inner optimizer does not '
          'follow the gradient (lion, rprop and sign_sgd take its sign). Use '
          f'{_INSTEAD}.')
    state = fresh
    if opt_state is not None:
      state = _with_scalars_of(
          opt_state, optimizer.update(other, fresh, grads)[1])
    if state is not None and not any(
        np.any(x) for g in (grads, other) for x in slopes(g, state, other)):
      raise ValueError(
          'All slopes would be 0: in this state the update of the inner '
          'optimizer does not follow the gradient (MultiSteps before its last '
          'step, a learning rate of 0). Pass a later inner_opt_state.')


def _probes(params):
  """Returns tiny gradient trees, on which an optimiser is tested.

  All trees but the last contain zeros, as the gradients of dead units do. There
  are two trees, or four if `params` has more than one leaf.
  """
  leaves, treedef = jax.tree.flatten(params)
  shapes = [
      (1,) * (np.ndim(p) - 1) + (2,) if np.ndim(p) else () for p in leaves
  ]
  half = lambda i, s: np.resize([0.0, 1.0], s) if s else np.array(i % 2)
  ones = lambda j: lambda i, s: np.full(s, (i + j) % 2)
  rng = np.random.default_rng(0)
  probes = [half, lambda i, s: rng.normal(size=s)]
  # Also test leaves that are all 0, because a norm has no derivative at 0.
  if len(leaves) > 1:
    probes[1:1] = [ones(0), ones(1)]
  return [
      jax.tree.unflatten(treedef, [
          jnp.asarray(probe(i, s), jnp.float32) for i, s in enumerate(shapes)
      ]) for probe in probes
  ]


def _not_finite(names):
  """Returns the error message for an optimiser without a finite derivative.

  Args:
    names: names of the NamedTuples in its state, from `_state_names`.
  """
  kin, how = names & _WITH_EPS_ROOT, f'use {_INSTEAD}'
  # eps_root would fix the Adam within Muon, but not Muon's norm, which has no
  # derivative at 0 either.
  if 'MuonState' in names:
    kin = {'MuonState'}
  elif kin:
    how = 'pass eps_root > 0, as optax.adam(..., eps_root=1e-8)'
  name = max(kin or names or {'stateless'})[:24]
  return (f'The inner optimizer ({name}) has no finite derivative where a '
          f'gradient is 0, so the lookahead would be nan: {how}.')


@functools.partial(jax.jit, static_argnums=0)
def _slopes(update, params, grads, state, cotangents):
  """Pulls cotangents of an update back to `grads`; returns the result's leaves.

  The function is jitted because it runs many times while a program is traced.
  It is compiled once per optimiser, however many programs use that optimiser.
  """
  updates, pull_back = jax.vjp(
      lambda g: update(g, state, params)[0], grads)
  cotangents = optax.tree.cast_like(cotangents, updates)
  return jax.tree.leaves(pull_back(cotangents)[0])


def _with_counts(state, count):
  """Returns an optimiser state in which all step counts are `count`.

  Every integer scalar of the state is taken to be a step count.
  """
  is_count = lambda x: (
      np.ndim(x) == 0 and jnp.issubdtype(jnp.result_type(x), jnp.integer))
  return jax.tree.map(
      lambda x: jnp.full_like(x, count) if is_count(x) else x, state)


def _depends(update, grads):
  """Returns whether the updates depend on the gradients at all.

  The updates pass through `watch`, whose derivative rule JAX does not call if
  it knows that their tangent is 0.
  """
  calls = []

  @jax.custom_jvp
  def watch(x):
    return x

  @watch.defjvp
  def _(primals, tangents):
    calls.append(True)
    return primals[0], tangents[0]

  jax.eval_shape(
      lambda g: jax.jvp(
          lambda g: jax.tree.map(watch, update(g)), (g,), (g,)), grads)
  return bool(calls)


def _state_names(state):
  """Returns the names of all NamedTuples within an optimiser state."""
  if isinstance(state, dict):
    return set().union(*map(_state_names, state.values()))
  if not isinstance(state, (tuple, list)):
    return set()
  names = {type(state).__name__} if hasattr(state, '_fields') else set()
  return set().union(names, *map(_state_names, state)) - {'EmptyState'}


def _with_scalars_of(given, state):
  """Returns `state` with its scalars replaced by those of `given`.

  The result is None if the two states differ in structure or if a scalar of
  `given` is traced.
  """
  leaves, treedef = jax.tree.flatten(state)
  others, other_def = jax.tree.flatten(given)
  if treedef != other_def:
    return None
  pairs = list(zip(leaves, others, strict=True))
  is_scalar = lambda x: np.ndim(x) == 0 and hasattr(x, 'dtype')
  scalars = [o for x, o in pairs if is_scalar(x) and is_scalar(o)]
  if any(isinstance(o, jax.core.Tracer) for o in scalars):
    return None
  return treedef.unflatten([
      o if is_scalar(x) and is_scalar(o) else x for x, o in pairs])


def _off_zero(grads):
  """Adds a tiny offset to a gradient that is 0 everywhere.

  The weighted gradient is 0 everywhere if the weights of all instances are 0. A
  norm has no derivative at 0, so the derivative of an optimiser that clips the
  norm of the gradient would be nan.
  """
  leaves = jax.tree.leaves(jax.lax.stop_gradient(grads))
  all_zero = jnp.all(jnp.stack([jnp.all(g == 0) for g in leaves]))

  def move(g):
    # The square of the offset must not underflow, as it would in float16.
    tiny = float(jnp.finfo(g.dtype).smallest_normal)
    aside = max(1e-12, 2 * tiny**0.5)
    return g + jnp.where(all_zero, aside, 0).astype(g.dtype)

  return jax.tree.map(move, grads)
