"""The terms of the training loss: exact masks, weak labels and teachers."""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hybridseg import co_regularization
from hybridseg import deep_supervision
from hybridseg import guards
from hybridseg import linearization
from hybridseg import mapped_axis
from hybridseg import method_parts
from hybridseg import train_state
from hybridseg import types
from hybridseg import weak_gradients as weak_gradients_lib

Networks = tuple[types.Params, types.Params]
# Maps params to the mean loss of the strong batch and the loss of each of its
# instances, [B].
StrongFn = Callable[[types.Params], tuple[jax.Array, jax.Array]]


class Term(NamedTuple):
  """One term of the loss that both networks descend.

  Attributes:
    name: prefix of the names of the term's metrics.
    loss: mean over the global batch and both networks, float [].
    grads: gradient of the mean over the global batch, for each network; None if
      the loss is only reported, and no network learns from it.
    is_bad: which instances of this shard make the term nan or infinite, bool
      [B].
    factor: factor by which the step multiplies the gradients.
  """

  name: str
  loss: jax.Array
  grads: Networks | None
  is_bad: jax.Array
  factor: float | jax.Array = 1.0


def strong_fn(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    loss_fn: method_parts.LossFn,
    images: jax.Array,
    labels: jax.Array,
    where: jax.Array,
    *,
    coarser_fn: Callable[..., Any] | None = None,
) -> StrongFn:
  """Returns the strong loss of a batch as a function of the params.

  With `coarser_fn`, see `train_step.make_train_step`, all outputs count.
  """

  def fn(params):
    if coarser_fn is None:
      losses = loss_fn(apply_fn(params, images), labels, where=where)
    else:
      logits, _, coarser = coarser_fn(params, images)
      losses = deep_supervision.combined_losses(
          lambda logits, labels, where, _: loss_fn(logits, labels, where=where),
          (logits, *coarser), labels, where, types.pixels(images))
    return jnp.mean(losses), losses

  return fn


def strong_term(
    fn: StrongFn,
    networks: Networks,
    *,
    factor: float | jax.Array,
    has_grads: bool,
    axis_name: mapped_axis.AxisName,
) -> Term:
  """Returns the term of the exact masks, mean_i strong_i(theta_n).

  Args:
    fn: from `strong_fn`.
    networks: parameters theta_n of both networks.
    factor: factor of the gradients in the step.
    has_grads: whether the gradients are used, by the networks or by the
      weighting rule; if not, they are 0.
    axis_name: mapped axis over which the batch is sharded, or None.
  """
  if has_grads:
    values, grads = zip(*(
        jax.value_and_grad(fn, has_aux=True)(p) for p in networks), strict=True)
  else:
    values = tuple(fn(p) for p in networks)
    grads = jax.tree.map(jnp.zeros_like, networks)
  means, losses = zip(*values, strict=True)
  loss, grads = mapped_axis.pmean((sum(means) / 2, grads), axis_name)
  return Term('strong', loss, grads, guards.nonfinite_rows(losses), factor)


def weak_term(
    weak_gradients: weak_gradients_lib.WeakGradients,
    linear: Sequence[linearization.LinearizedLosses],
    weights: jax.Array,
    step: jax.Array,
    *,
    scale: float | optax.Schedule,
    axis_name: mapped_axis.AxisName,
) -> Term:
  """Returns the term of the weak labels, scale * mean_k w_k weak_k(theta_n).

  The loss is reported without weights and scale; the gradients include both.

  Args:
    weak_gradients: from `weak_gradients.make_weak_gradients`.
    linear: weak losses of each network, linearised at theta_n.
    weights: w, float [B]; per class, float [B, K - 1].
    step: number of updates done before this one, int32 [].
    scale: factor of the term, or a schedule; with 0 no network learns from weak
      labels.
    axis_name: mapped axis over which the batch is sharded, or None.
  """
  # Of losses per class, the sum is the loss of the instance.
  losses = [l.losses[0] if l.losses[0].ndim == 1 else jnp.sum(l.losses[0], -1)
            for l in linear]
  loss = mapped_axis.pmean(sum(map(jnp.mean, losses)) / 2, axis_name)
  is_bad = guards.nonfinite_rows([l.losses for l in linear])
  if not scale:
    return Term('weak', loss, None, is_bad)
  cotangent = method_parts.scale_at(scale, step) * weights / len(weights)
  grads = mapped_axis.pmean(tuple(
      weak_gradients.weighted_grads(l, cotangent) for l in linear), axis_name)
  return Term('weak', loss, grads, is_bad)


def taught_term(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    state: train_state.TrainState,
    images: types.Images,
    logits: Sequence[jax.Array],
    weights: jax.Array,
    masks: jax.Array,
    *,
    co_reg: method_parts.CoRegularization,
    is_unlabelled: jax.Array | bool,
    encode_fn: Callable[[types.Images], Any],
    axis_name: mapped_axis.AxisName,
) -> Term:
  """Returns the co-regularization term, by which networks learn from teachers.

  The term is scale(step) * mean_k t(w_k) taught_k(theta_n) over the weak
  images, where taught_k is the loss against the teacher: see
  `CoRegularization`.

  Args:
    apply_fn: maps params and images to logits.
    state: state before the update.
    images: plain weak images, encoded or not.
    logits: logits of each network on the plain images.
    weights: w, float [B], or [B, K - 1], whose mean over the classes is then w;
      the trust t is a function of w, and is 1 for an image without an
      annotation.
    masks: pixels at which the neighbour's image is pasted, bool [B, H, W].
    co_reg: the kind of teacher, and the factor of the term.
    is_unlabelled: which images have no annotation, bool [B] or False.
    encode_fn: maps mixed images to the input of `apply_fn`.
    axis_name: mapped axis over which the batch is sharded, or None.

  Raises:
    ValueError: if the teachers are moving averages, but the state has none.
  """
  losses_fn, taught = co_regularization.cross_pseudo_losses, list(logits)
  if co_reg.teacher == 'mean':
    if state.teachers is None:
      raise ValueError(
          'The state holds no mean teachers: give init_state the same co_reg.')
    losses_fn = co_regularization.consistency_losses
    taught = [apply_fn(p, images) for p in state.teachers]
  elif co_reg.teacher == 'other':
    taught = taught[::-1]
  if weights.ndim > 1:
    weights = jnp.mean(weights, axis=-1)
  trust = method_parts.TRUSTS[co_reg.trust](weights)
  trust = jnp.where(is_unlabelled, 1, trust)
  loss, grads = mapped_axis.pmean(co_regularization.taught_value_and_grads(
      apply_fn, state.params, types.pixels(images), taught, trust, masks,
      losses_fn=losses_fn, encode_fn=encode_fn), axis_name)
  factor = co_regularization.ramp_up(
      state.step, scale=co_reg.scale, ramp_up_steps=co_reg.ramp_up_steps)
  # Check the teachers' logits at all pixels: pseudo labels cover unlabelled
  # pixels, too, and the argmax would turn a nan into a class.
  return Term('co_reg', loss, grads, guards.nonfinite_rows(taught), factor)


def learnt(terms: Sequence[Term]) -> list[Term]:
  """Returns the terms that the networks learn from."""
  return [t for t in terms if t.grads is not None]


def total_grads(terms: Sequence[Term]) -> Networks:
  """Returns the gradients of the sum of all terms, each times its factor."""
  scaled = [
      jax.tree.map(functools.partial(jnp.multiply, t.factor), t.grads)
      for t in learnt(terms)]
  return functools.reduce(functools.partial(jax.tree.map, jnp.add), scaled)
