"""Instance weights from the gradient of a strong-set loss.

Two levels: *inner* is the weighted weak loss that the lookahead descends,
*outer* the strong loss after it. With one virtual step

  theta'(w) = theta - step_size * grad(mean_k w_k * weak_k(theta)),

the slope of the outer loss in a weight is, for plain SGD,

  d strong(theta') / d w_k
      = -(step_size / B) * <grad strong(theta'), grad weak_k(theta)>.

The inner product is the *alignment* of instance k: positive where trusting it
lowers the strong loss.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import linearization
from hybridseg import types

METHODS = ('grad', 'forward')


def _pmean(tree, axis_name):
  return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def _varying(tree, axis_name):
  """Marks a tree as different on every shard, for `jax.shard_map`.

  With `check_vma`, its default, it sums the gradient in what all shards share
  by itself, and `_pmean` of that would still be the sum.
  """

  def vary(x):
    try:
      return jax.lax.pcast(x, axis_name, to='varying')
    except (AssertionError, ValueError):  # It does already, or under vmap.
      return x

  return tree if axis_name is None else jax.tree.map(vary, tree)


def num_shards(axis_name: str | None) -> int | jax.Array:
  """Returns how many shards a mapped axis has; 1 if there is none."""
  return 1 if axis_name is None else jax.lax.psum(1, axis_name)


def check_inner_optimizer(
    optimizer: optax.GradientTransformation, params: types.Params
) -> None:
  """Refuses an optimiser whose update has no finite derivative at gradient 0.

  Adam with `eps_root=0` divides by sqrt(nu): where a gradient is exactly 0 (a
  dead unit) the derivative of the root is infinite and the lookahead nan.

  Args:
    optimizer: the inner optimiser.
    params: parameters; only their tree structure and ranks are read.

  Raises:
    ValueError: if the derivative of `optimizer.update` is not finite.
  """
  leaves, treedef = jax.tree.flatten(params)
  shapes = [
      (1,) * (np.ndim(p) - 1) + (2,) if np.ndim(p) else () for p in leaves
  ]
  # Half of the entries are 0, as where units are dead.
  halves = [np.resize(np.array([0, 1], np.float32), s) if s
            else np.array(i % 2, np.float32) for i, s in enumerate(shapes)]
  with jax.ensure_compile_time_eval():
    grads = jax.tree.unflatten(treedef, [jnp.asarray(h) for h in halves])
    update = lambda g: optimizer.update(g, optimizer.init(grads), grads)[0]
    updates, pull_back = jax.vjp(update, grads)
    (slopes,) = pull_back(jax.tree.map(jnp.ones_like, updates))
    finite = all(np.isfinite(t).all() for t in jax.tree.leaves(slopes))
  if not finite:
    raise ValueError(
        'The inner optimizer has no finite derivative where a gradient is 0, '
        'so the lookahead would be nan. Adam and its kin: pass eps_root > 0 '
        '(for example optax.adam(..., eps_root=1e-8)), or use step_size.'
    )


def _off_zero(grads):
  """Moves a gradient that is 0 everywhere, as at weights 0, a little aside.

  A norm has no slope at 0, so that clipping by one would give nan there.
  """
  leaves = jax.tree.leaves(jax.lax.stop_gradient(grads))
  all_zero = jnp.all(jnp.stack([jnp.all(g == 0) for g in leaves]))
  return jax.tree.map(
      lambda g: g + jnp.where(all_zero, 1e-12, 0).astype(g.dtype), grads
  )


def _inner_update_fn(params, step_size, inner_optimizer, inner_opt_state):
  """Returns the map from the weighted gradient to the lookahead's update."""
  if (step_size is None) == (inner_optimizer is None):
    raise ValueError('Give exactly one of step_size and inner_optimizer.')
  if inner_optimizer is None:
    inner_optimizer = optax.sgd(step_size)
  else:
    check_inner_optimizer(inner_optimizer, params)
  if inner_opt_state is None:
    inner_opt_state = inner_optimizer.init(params)

  def inner_update(grads):
    grads = _off_zero(grads)
    return inner_optimizer.update(grads, inner_opt_state, params)[0]

  return inner_update


def lookahead_weight_grads(
    weak_losses_fn: Callable[[Any], jax.Array],
    strong_loss_fn: Callable[[Any], jax.Array],
    params: types.Params,
    weights: jax.Array,
    *,
    step_size: float | None = None,
    inner_optimizer: optax.GradientTransformation | None = None,
    inner_opt_state: optax.OptState | None = None,
    method: str = 'forward',
    axis_name: str | None = None,
) -> jax.Array:
  """Differentiates the strong-set loss with respect to weak-instance weights.

  With g(w) = grad_theta(mean_k w_k * weak_k(theta)) and theta' = theta -
  step_size * g(w), or theta' = theta + inner_optimizer.update(g(w)), returns
  d strong(theta') / d w_k: negative where trusting instance k more would help.
  Ren et al., "Learning to Reweight Examples for Robust Deep Learning", 2018
  (https://arxiv.org/abs/1803.09050, eq. 7, at weights 0); Pan et al., 2022
  (https://arxiv.org/abs/2203.05956, Algorithm 1, at the stored indicators). No
  relation to `optax.lookahead`.

  `method='grad'` is `jax.grad` through the lookahead, as the formula reads.
  `method='forward'` is the same number in closed form, without a second
  derivative: the strong gradient at theta' is pulled back through the
  optimiser's update by `jax.vjp`, and its inner products with all per-instance
  gradients are one directional derivative of the weak losses.

  Args:
    weak_losses_fn: maps params to the weak losses of this shard, float [B].
    strong_loss_fn: maps params to the mean strong loss of this shard, float [].
    params: parameters theta, any pytree of float arrays.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead, not of the optimiser.
    inner_optimizer: any optax optimiser in place of plain SGD.
    inner_opt_state: its state at theta; None is a fresh one.
    method: 'grad' or 'forward'.
    axis_name: mapped axis to average over, of `jax.pmap` or `jax.shard_map`, or
      None on a single device. Shards hold equally many instances.

  Returns:
    Slope of the global mean strong loss, float [B].

  Raises:
    ValueError: if `weights` is not rank 1 or does not fit the weak losses, if
      not exactly one of `step_size` and `inner_optimizer` is given, if the
      inner optimiser has no finite derivative (Adam with `eps_root=0`), or if
      `method` is unknown.
  """
  if weights.ndim != 1:
    raise ValueError(f'weights must have rank 1, got shape {weights.shape}.')
  losses_shape = jax.eval_shape(weak_losses_fn, params).shape
  if losses_shape != weights.shape:
    raise ValueError(
        f'weak_losses_fn returns shape {losses_shape}, but {weights.shape=}.'
    )
  if method not in METHODS:
    raise ValueError(f'Unknown {method=}; known: {METHODS}.')
  params, weights = _varying((params, weights), axis_name)
  inner = dict(
      step_size=step_size,
      inner_optimizer=inner_optimizer,
      inner_opt_state=inner_opt_state,
  )
  if method == 'forward':
    return linear_weight_grads(
        linearization.linearize_losses(weak_losses_fn, params), strong_loss_fn,
        params, weights, **inner, axis_name=axis_name)
  inner_update = _inner_update_fn(params, **inner)

  def outer_loss(w):
    inner_loss = lambda p: jnp.mean(w * weak_losses_fn(p))
    grads = _pmean(jax.grad(inner_loss)(params), axis_name)
    ahead = optax.apply_updates(params, inner_update(grads))
    return strong_loss_fn(ahead)

  # Inside a mapped axis, reverse mode sums the cotangent of pmean over the
  # shards, so each one sees the slope of the *sum* of the outer losses.
  return jax.grad(outer_loss)(weights) / num_shards(axis_name)


def linear_weight_grads(
    linear: linearization.LinearizedLosses,
    strong_loss_fn: Callable[[Any], jax.Array],
    params: types.Params,
    weights: jax.Array,
    *,
    step_size: float | None = None,
    inner_optimizer: optax.GradientTransformation | None = None,
    inner_opt_state: optax.OptState | None = None,
    axis_name: str | None = None,
) -> jax.Array:
  """Is the closed form of `lookahead_weight_grads`, of losses at hand.

  With J the Jacobian of the weak losses at theta, U the optimiser's update and
  theta' = theta + U(J^T w / B), the slopes are
  (1 / B) J U'(J^T w / B)^T grad strong(theta'). A training step that goes on to
  call `linear.weighted_grads` with its new weights pays for the forward pass
  on the weak images once.

  Args:
    linear: the B weak losses at `params`, from `linearization`. Within
      `jax.shard_map` that checks `vma`, as it does by default, linearise at
      `jax.lax.pcast(params, axis_name, to='varying')`.
    strong_loss_fn: as for `lookahead_weight_grads`, and so are the rest.
    params: parameters theta.
    weights: current weights of the B weak instances, float [B].
    step_size: learning rate of a plain SGD lookahead.
    inner_optimizer: any optax optimiser in place of plain SGD.
    inner_opt_state: its state at theta; None is a fresh one.
    axis_name: mapped axis to average over, or None.

  Returns:
    Slope of the global mean strong loss, float [B].

  Raises:
    ValueError: if not exactly one of `step_size` and `inner_optimizer` is
      given, or if the inner optimiser has no finite derivative.
  """
  inner_update = _inner_update_fn(
      params, step_size, inner_optimizer, inner_opt_state
  )
  mean = lambda grads: _varying(_pmean(grads, axis_name), axis_name)
  weights = _varying(weights, axis_name)
  grads = mean(linear.weighted_grads(weights / weights.size))
  updates, pull_back = jax.vjp(inner_update, grads)
  ahead = optax.apply_updates(params, updates)
  (direction,) = pull_back(mean(jax.grad(strong_loss_fn)(ahead)))
  num_instances = weights.size * num_shards(axis_name)
  return linear.directional(direction) / num_instances


def last_layer_slopes(
    features: jax.Array, head_direction: types.Params
) -> jax.Array:
  """Returns the slope of the logits along a direction of the last layer.

  With logits = features @ kernel + bias and the direction (V, c), the slope is
  features @ V + c.

  Args:
    features: input of the last layer, float [B, ..., F].
    head_direction: for example its strong gradient: `kernel` [1, ..., 1, F, K],
      `bias` [K].

  Returns:
    Slopes, float [B, ..., K].

  Raises:
    ValueError: if the layer is not a 1 x 1 convolution of these features.
  """
  kernel, bias = head_direction['kernel'], head_direction['bias']
  expected = (features.shape[-1], bias.size)
  if kernel.size != expected[0] * expected[1]:
    raise ValueError(
        f'The last layer has {kernel.shape=}, but maps features '
        f'{features.shape} to {bias.size} logits: want [1, ..., 1, F, K].'
    )
  slopes = features @ kernel.reshape(expected)
  return slopes + bias.reshape((1,) * (slopes.ndim - 1) + bias.shape)


def last_layer_alignments(
    losses_fn: Callable[[jax.Array], jax.Array],
    logits: jax.Array,
    features: jax.Array,
    head_direction: types.Params,
) -> jax.Array:
  """Returns the part of the alignments that the last layer contributes.

  With t = `last_layer_slopes` of the strong gradient, the alignment of instance
  k is <d loss_k / d logits_k, t_k>: no pass through the network.

  Args:
    losses_fn: maps logits to the weak losses, float [B].
    logits: float [B, ..., K].
    features: input of the last layer, float [B, ..., F].
    head_direction: strong gradient of the last layer: `kernel` [..., F, K] of
      spatial size 1, `bias` [K].

  Returns:
    Alignments, float [B].

  Raises:
    ValueError: if the layer is not a 1 x 1 convolution of these features.
  """
  slopes = last_layer_slopes(features, head_direction)
  return jax.jvp(losses_fn, (logits,), (slopes,))[1]


def l2rw_weights(
    weight_grads: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Turns slopes into the normalised weights of one batch.

  w_k = max(-d strong / d w_k, 0) / sum_j max(-d strong / d w_j, 0), over the
  global batch; all 0 where no instance helps. Ren et al., 2018
  (https://arxiv.org/abs/1803.09050, eqs. 8 and 9).

  Args:
    weight_grads: slopes at weights 0 from `lookahead_weight_grads`, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Weights that sum to 1 over the global batch, or to 0, float [B].
  """
  raw = jnp.maximum(-weight_grads, 0)
  total = jnp.sum(raw)
  if axis_name is not None:
    total = jax.lax.psum(total, axis_name)
  return raw / jnp.where(total > 0, total, 1)


def without_common_harm(
    alignments: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Takes a negative mean over the global batch off the alignments.

  a_k - min(0, mean_j a_j). Where the networks have come to rest between the
  strong and the weak loss, grad strong = -weak_scale * mean_k w_k grad weak_k,
  so that mean_k w_k a_k = -|grad strong|^2 / weak_scale: every instance then
  *seems* to harm, good ones too, and all indicators sink, whatever the labels
  are worth. What all have in common says nothing of any of them. A positive
  mean stays: early on, all may help. Own addition; measured in
  `experiments/results/phantom.md`.

  Args:
    alignments: float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Alignments of mean >= 0, float [B].
  """
  return alignments - jnp.minimum(_pmean(jnp.mean(alignments), axis_name), 0)


def unit_rms(
    values: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
  """Divides by the root mean square over the global batch; 0 stays 0.

  Gradients shrink by orders of magnitude while a network trains: without a
  scale, the learning rate of the indicators would have to follow.

  Args:
    values: for example alignments, float [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Values of mean square 1, float [B].
  """
  mean_square = _pmean(jnp.mean(jnp.square(values)), axis_name)
  return values * jax.lax.rsqrt(jnp.where(mean_square > 0, mean_square, 1))
