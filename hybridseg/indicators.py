"""Dynamic instance indicators: one persistent weight per weak instance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import guards
from hybridseg import mapped_axis
from hybridseg import masking
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
  """Returns a state that trusts all instances equally.

  Args:
    num_weak: number of weak instances N.
    value: first value of every indicator, in [0, 1].

  Returns:
    The state.

  Raises:
    ValueError: if `value` is outside [0, 1].
  """
  if not 0 <= value <= 1:
    raise ValueError(f'An indicator lies in [0, 1]; got {value=}.')
  # An explicit transfer, which `jax.transfer_guard('disallow')` lets pass.
  return IndicatorState(*jax.device_put((
      np.full((num_weak,), value, np.float32),
      np.zeros((num_weak,), np.int32),
  )))


def _rows(instance_ids, num_weak):
  """Returns rows of the table, int32; N, which is none, for other ids.

  Indexing would take -1, which says "none", for the last row.
  """
  if not isinstance(instance_ids, jax.Array):
    # Before JAX cuts off what an int32 cannot hold.
    instance_ids = np.asarray(instance_ids)
    if not instance_ids.size:
      instance_ids = instance_ids.astype(np.int32)
  if not jnp.issubdtype(instance_ids.dtype, jnp.integer):
    raise ValueError(f'Want whole instance ids, got {instance_ids.dtype}.')
  if isinstance(instance_ids, np.ndarray):
    wrong = instance_ids[(instance_ids < -1) | (instance_ids >= num_weak)]
    if wrong.size:
      raise ValueError(
          f'Instance id {wrong.flat[0]} is no row of {num_weak} indicators, '
          'nor -1 for none.')
  if instance_ids.dtype.itemsize < 4:  # Their range may not hold N.
    instance_ids = instance_ids.astype(jnp.int32)
  is_row = (instance_ids >= 0) & (instance_ids < num_weak)
  return jnp.where(is_row, instance_ids, num_weak).astype(jnp.int32)


def gather_indicators(
    state: IndicatorState, instance_ids: jax.Array
) -> jax.Array:
  """Returns the indicators of a batch.

  Args:
    state: indicators of the whole weak set.
    instance_ids: rows of the table, int [B]; -1 for an instance that has none.

  Returns:
    Indicators, float32 [B]. An instance without one counts in full, as with
    uniform weights: 1. So does an id out of range, which cannot be refused
    once it is on a device.

  Raises:
    ValueError: if the ids are not integers, or if they are no JAX array and one
      is out of range.
  """
  rows = _rows(instance_ids, state.weights.size)
  if not state.weights.size:  # Nothing is read from an empty array.
    return jnp.ones(rows.shape, state.weights.dtype)
  return state.weights.at[rows].get(mode='fill', fill_value=1)


def update_indicators(
    state: IndicatorState,
    instance_ids: jax.Array,
    weight_grads: jax.Array,
    *,
    learning_rate: float | jax.Array,
    axis_name: mapped_axis.AxisName = None,
) -> IndicatorState:
  """Takes one projected gradient step on the indicators of a batch.

  w_k <- clip(w_k - learning_rate * weight_grads_k, 0, 1). Pan et al., 2022
  (https://arxiv.org/abs/2203.05956, Algorithm 1).

  No indicator moves by a slope that is nan or infinite, and an id that is no
  row of the table moves nothing.

  Args:
    state: indicators of the whole weak set.
    instance_ids: rows to move, int [B]; -1 for an instance that has no
      indicator. The slopes of one that is in the global batch more than once
      are added up, and it moves once.
    weight_grads: d strong / d w_k, float [B].
    learning_rate: step of the indicators.
    axis_name: mapped axis whose shards are gathered, so that every device ends
      with the same table; None on a single device.

  Returns:
    The new state.

  Raises:
    ValueError: if the ids and slopes are not both [B], if the ids are not
      integers, or if they are no JAX array and one is out of range.
  """
  shapes = jnp.shape(instance_ids), jnp.shape(weight_grads)
  if shapes[0] != shapes[1] or len(shapes[0]) != 1:
    raise ValueError(
        f'Want ids and slopes [B], got ids {shapes[0]} and slopes {shapes[1]}.')
  num_weak = state.weights.size
  rows, slopes = (
      guards.gather_rows(x, axis_name=axis_name)
      for x in (_rows(instance_ids, num_weak), jnp.asarray(weight_grads)))
  if not num_weak:
    return state
  slopes = masking.widen(slopes)
  dtype = slopes.dtype
  total = jnp.zeros(num_weak, dtype).at[rows].add(slopes, mode='drop')
  slopes = total.at[rows].get(mode='fill')
  old = state.weights.at[rows].get(mode='fill')
  moved = jnp.clip(old.astype(dtype) - learning_rate * slopes, 0.0, 1.0)
  # An infinite weight stays one that the train step finds.
  is_sound = jnp.isfinite(old) & jnp.isfinite(slopes) & ~jnp.isnan(moved)
  rows = jnp.where(is_sound, rows, num_weak)
  counts = state.num_updates.at[rows].get(mode='fill') + 1
  return IndicatorState(
      weights=state.weights.at[rows].set(
          moved.astype(state.weights.dtype), mode='drop'),
      num_updates=state.num_updates.at[rows].set(counts, mode='drop'),
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
