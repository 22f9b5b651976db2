"""Updates indicators and computes gradients in a training step of your own.

Use it for networks and optimisers that `train_step` does not support.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hybridseg import indicators as indicators_lib
from hybridseg import linearization
from hybridseg import loss_functions
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import types
from hybridseg import weighting as weighting_lib


class IndicatorGrads(NamedTuple):
  """Result of `indicator_value_and_grad` for one batch.

  Attributes:
    loss: training loss of the global batch, float [].
    grads: gradient of `loss` for the optimiser, a tree like `params`; None in
      place of leaves that are not floats.
    state: indicators of all weak instances after the update.
    weights: indicators of the batch after the update, float32 [B].
    slopes: d strong(theta') / d w_k before the update, float32 [B].
    losses: weak losses at theta, float [B].
    aux: with `has_aux`, a pair of the aux of the weak losses and the aux of the
      strong loss, both at theta and of this shard; otherwise None.
  """

  loss: jax.Array
  grads: types.Params
  state: indicators_lib.IndicatorState
  weights: jax.Array
  slopes: jax.Array
  losses: jax.Array
  aux: Any


def indicator_value_and_grad(
    weak_losses_fn: Callable[[Any], Any],
    strong_loss_fn: Callable[[Any], Any],
    params: types.Params,
    state: indicators_lib.IndicatorState,
    instance_ids: jax.Array,
    *,
    learning_rate: float | jax.Array,
    step_size: float | None = None,
    inner_optimizer: optax.GradientTransformation | None = None,
    inner_opt_state: optax.OptState | None = None,
    has_aux: bool = False,
    axis_name: mapped_axis.AxisName = None,
) -> IndicatorGrads:
  """Updates the indicators of a batch, then returns the training gradient.

  With the indicators w of the batch and the slopes s_k = d strong(theta'(w)) /
  d w_k of `lookahead_weight_grads`,

    w_k <- clip(w_k - learning_rate * s_k / rms(s), 0, 1),
    loss(theta) = strong(theta) + (1 / B) sum_k w_k weak_k(theta),

  where the gradient of the loss treats the new w as a constant. Pan et al.,
  2022 (https://arxiv.org/abs/2203.05956, Algorithm 1); the division by the root
  mean square over the global batch, `weighting.unit_rms`, is our own addition.

  Calling `lookahead_weight_grads`, `update_indicators`, `gather_indicators` and
  `jax.value_and_grad` one after another gives the same result. Those calls take
  two forward passes on the weak instances. This function takes one, so a
  network with dropout or batch statistics processes each instance only once.
  Under `jax.jit`, XLA often merges the two passes by itself, and both ways then
  take the same time.

  Args:
    weak_losses_fn: maps params to the weak losses of this shard, float [B]. For
      a batch that does not fit in memory, see `microbatches.over_microbatches`.
    strong_loss_fn: maps params to the mean strong loss of this shard, float [];
      it is called at theta' and at theta.
    params: parameters theta, any pytree, as for `lookahead_weight_grads`.
    state: indicators of all weak instances of the set.
    instance_ids: rows of the indicator table, int [B]; -1 for an instance that
      has no indicator, which gets the weight 1.
    learning_rate: learning rate of the indicators; 0 leaves them unchanged.
    step_size: learning rate of a plain SGD lookahead, not of the optimiser.
    inner_optimizer: any optax optimiser for the lookahead, instead of plain
      SGD.
    inner_opt_state: state of `inner_optimizer` at theta; None starts a fresh
      one.
    has_aux: whether both loss functions return a pair of losses and aux, where
      aux is any pytree, as for `jax.grad`.
    axis_name: name of the axis of `jax.pmap` or `jax.shard_map` over which to
      average; None on a single device, () if every shard is an independent
      problem. All shards hold the same number of instances.

  Returns:
    Loss and gradient are means over the shards, and the new indicators are the
    same on all shards; weights, slopes, losses and aux belong to this shard.
    Where a loss or a slope is not finite, no indicator moves, and the loss or
    the gradient is not finite either.

  Raises:
    ValueError: in the same cases as `lookahead_weight_grads` and
      `update_indicators`, where the expected shape [B] is that of
      `instance_ids`.
  """
  weights = indicators_lib.gather_indicators(state, instance_ids)
  floats, merge = loss_functions.split_floats(params)
  floats = mapped_axis.varying(floats, axis_name)
  weak_fn = loss_functions.of_floats(
      weak_losses_fn, merge, name='weak_losses_fn', has_aux=has_aux,
      shape=weights.shape,
      meaning=f'one loss per instance id, a float for each of {weights.shape}')
  strong_fn: Callable[..., Any] = loss_functions.of_floats(
      strong_loss_fn, merge, name='strong_loss_fn', has_aux=has_aux, shape=(),
      meaning='the mean of its losses, a float of shape ()')
  linear = linearization.linearize_losses(weak_fn, floats, has_aux=True)
  slopes, _ = weighting_lib.linear_weight_grads(
      linear, strong_fn, floats, weights, step_size=step_size,
      inner_optimizer=inner_optimizer, inner_opt_state=inner_opt_state,
      has_aux=True, axis_name=axis_name)
  state = indicators_lib.update_indicators(
      state, instance_ids, weighting_lib.unit_rms(slopes, axis_name=axis_name),
      learning_rate=learning_rate, axis_name=axis_name)
  weights = indicators_lib.gather_indicators(state, instance_ids)
  (strong, strong_aux), strong_grads = jax.value_and_grad(
      strong_fn, has_aux=True)(floats)
  weak_grads = linear.weighted_grads(weights / weights.size)
  dtype = masking.wide_dtype(linear.losses.dtype)
  loss = strong.astype(dtype) + jnp.mean(
      weights.astype(dtype) * linear.losses.astype(dtype))
  grads = jax.tree.map(jnp.add, strong_grads, weak_grads)
  loss, grads = mapped_axis.pmean((loss, grads), axis_name)
  return IndicatorGrads(
      loss, grads, state, weights, slopes, linear.losses,
      (linear.aux, strong_aux) if has_aux else None)
