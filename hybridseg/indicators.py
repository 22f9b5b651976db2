"""Dynamic instance indicators: one persistent weight per weak instance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import guards
from hybridseg import types


class IndicatorState(NamedTuple):
  """Weights of all weak instances, carried from step to step.

  Attributes:
    weights: one indicator per weak instance of the set, float32 [N], in [0, 1].
    num_updates: how often each indicator has moved, int32 [N].
  """

  weights: jax.Array
  num_updates: jax.Array


def init_indicators(num_weak: int, *, value: float = 1.0) -> IndicatorState:
  """Returns a state that trusts all `num_weak` instances equally."""
  # An explicit transfer, which `jax.transfer_guard('disallow')` lets pass.
  return IndicatorState(*jax.device_put((
      np.full((num_weak,), value, np.float32),
      np.zeros((num_weak,), np.int32),
  )))


def gather_indicators(
    state: IndicatorState, instance_ids: jax.Array
) -> jax.Array:
  """Returns the indicators of `instance_ids`, int32 [B], as float32 [B]."""
  return state.weights[instance_ids]


def update_indicators(
    state: IndicatorState,
    instance_ids: jax.Array,
    weight_grads: jax.Array,
    *,
    learning_rate: float | jax.Array,
    axis_name: str | None = None,
) -> IndicatorState:
  """Takes one projected gradient step on the indicators of a batch.

  w_k <- clip(w_k - learning_rate * weight_grads_k, 0, 1). Pan et al., 2022
  (https://arxiv.org/abs/2203.05956, Algorithm 1).

  Args:
    state: indicators of the whole weak set.
    instance_ids: rows to move, distinct over the global batch, int32 [B].
    weight_grads: d strong / d w_k, float [B].
    learning_rate: step of the indicators.
    axis_name: mapped axis whose shards are gathered, so that every device ends
      with the same table; None on a single device.

  Returns:
    The new state.
  """
  instance_ids, weight_grads = (
      guards.gather_rows(x, axis_name=axis_name)
      for x in (instance_ids, weight_grads))
  moved = state.weights[instance_ids] - learning_rate * weight_grads
  return IndicatorState(
      weights=state.weights.at[instance_ids].set(jnp.clip(moved, 0.0, 1.0)),
      num_updates=state.num_updates.at[instance_ids].add(1),
  )


def indicator_health(state: IndicatorState) -> types.Metrics:
  """Returns scalars that tell a healthy weighting from a collapsed one.

  Args:
    state: indicators of the whole weak set.

  Returns:
    `mean`; `share_at_0` and `share_at_1`; `effective_share` = (sum w)^2 /
    (N sum w^2), Kish's effective sample size over N: 1 if all are equal, 1 / N
    if one instance holds all the weight, 0 if all are 0.
  """
  w = state.weights
  sum_squares = jnp.sum(jnp.square(w))
  return {
      'mean': jnp.mean(w),
      'share_at_0': jnp.mean(w <= 0),
      'share_at_1': jnp.mean(w >= 1),
      'effective_share': jnp.square(jnp.sum(w))
      / (w.size * jnp.where(sum_squares > 0, sum_squares, 1)),
  }
