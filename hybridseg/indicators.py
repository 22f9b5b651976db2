"""Dynamic instance indicators: a persistent weight for each weak instance."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import guards
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import types


class IndicatorState(NamedTuple):
  """The indicators of all weak instances, carried from step to step.

  Attributes:
    weights: one indicator per weak instance of the set, float32 [N], in [0, 1];
      or one per instance and foreground class, float32 [N, K - 1].
    num_updates: number of updates of each indicator, int32 of the same shape.
  """

  weights: jax.Array
  num_updates: jax.Array


def init_indicators(
    num_weak: int, *, value: float = 1.0, num_classes: int | None = None
) -> IndicatorState:
  """Returns a state in which all instances have the same indicator.

  Args:
    num_weak: number of weak instances N.
    value: initial value of every indicator, in [0, 1].
    num_classes: number of classes K, if each instance has an indicator per
      foreground class; otherwise None.

  Returns:
    The state.

  Raises:
    ValueError: if `value` is outside [0, 1].
  """
  if not 0 <= value <= 1:
    raise ValueError(f'An indicator lies in [0, 1]; got {value=}.')
  # `jax.transfer_guard('disallow')` permits this explicit transfer.
  shape = (num_weak,) if num_classes is None else (num_weak, num_classes - 1)
  return IndicatorState(*jax.device_put((
      np.full(shape, value, np.float32),
      np.zeros(shape, np.int32),
  )))


def _rows(instance_ids, num_weak):
  """Returns each id's row in the indicator table, int32; N if it has no row.

  The id -1 means "no indicator", but the index -1 would read the last row.
  """
  if not isinstance(instance_ids, jax.Array):
    # Check the ids in NumPy: JAX would truncate an id that does not fit an
    # int32.
    instance_ids = np.asarray(instance_ids)
    if not instance_ids.size:
      instance_ids = instance_ids.astype(np.int32)
  if not jnp.issubdtype(instance_ids.dtype, jnp.integer):
    raise ValueError(f'Want whole instance ids, got {instance_ids.dtype}.')
  if isinstance(instance_ids, np.ndarray):
    wrong = instance_ids[(instance_ids < -1) | (instance_ids >= num_weak)]
    if wrong.size:
      raise ValueError(
          f'Instance id {wrong.flat[0]} is not a row of {num_weak} indicators, '
          'nor -1 for none.')
  if instance_ids.dtype.itemsize < 4:  # int8 or int16 may not hold N.
    instance_ids = instance_ids.astype(jnp.int32)
  is_row = (instance_ids >= 0) & (instance_ids < num_weak)
  return jnp.where(is_row, instance_ids, num_weak).astype(jnp.int32)


def gather_indicators(
    state: IndicatorState, instance_ids: jax.Array
) -> jax.Array:
  """Returns the indicators of a batch.

  Args:
    state: indicators of all weak instances of the set.
    instance_ids: rows of the table, int [B]; -1 for an instance that has no
      indicator.

  Returns:
    Indicators, float32 [B]; per class, float32 [B, K - 1]. An instance without
    an indicator gets 1, as with uniform weights. So does an id out of range if
    the ids are a JAX array, whose values cannot be checked.

  Raises:
    ValueError: if the ids are not integers, or if they are not a JAX array and
      one of them is out of range.
  """
  rows = _rows(instance_ids, len(state.weights))
  if not state.weights.size:  # An empty table has no row to read.
    shape = (*rows.shape, *state.weights.shape[1:])
    return jnp.ones(shape, state.weights.dtype)
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

  An indicator whose slope is nan or infinite does not move. An id that is not a
  row of the table has no effect.

  Args:
    state: indicators of all weak instances of the set.
    instance_ids: rows to update, int [B]; -1 for an instance that has no
      indicator. If an instance is in the global batch more than once, its
      slopes are added up and its indicator is updated once.
    weight_grads: slopes d strong / d w_k, float [B]; per class, float
      [B, K - 1].
    learning_rate: learning rate of the indicators.
    axis_name: mapped axis whose shards are gathered, so that every device ends
      with the same table; None on a single device.

  Returns:
    The new state.

  Raises:
    ValueError: if the ids are not [B], or the slopes not of the shape of their
      indicators, if the ids are not integers, or if they are not a JAX array
      and one of them is out of range.
  """
  shapes = jnp.shape(instance_ids), jnp.shape(weight_grads)
  if len(shapes[0]) != 1 or shapes[1] != shapes[0] + state.weights.shape[1:]:
    per_class = ''.join(f', {n}' for n in state.weights.shape[1:])
    raise ValueError(
        f'Want ids [B] and slopes [B{per_class}], got ids {shapes[0]} and '
        f'slopes {shapes[1]}.')
  num_weak = len(state.weights)
  rows, slopes = (
      guards.gather_rows(x, axis_name=axis_name)
      for x in (_rows(instance_ids, num_weak), jnp.asarray(weight_grads)))
  if not num_weak:
    return state
  slopes = masking.widen(slopes)
  dtype = slopes.dtype
  # Add up the slopes of an instance where it occurs first. A table of all sums,
  # [N], would cost more than the step itself if N is 10 million.
  first = jnp.argmax(rows[:, None] == rows[None, :], axis=1)
  slopes = jnp.zeros_like(slopes).at[first].add(slopes)[first]
  old = state.weights.at[rows].get(mode='fill')
  moved = jnp.clip(old.astype(dtype) - learning_rate * slopes, 0.0, 1.0)
  # An indicator that is already infinite stays infinite, so that the training
  # step detects it.
  is_sound = jnp.isfinite(old) & jnp.isfinite(slopes) & ~jnp.isnan(moved)
  counts = state.num_updates.at[rows].get(mode='fill')
  return IndicatorState(
      weights=state.weights.at[rows].set(
          jnp.where(is_sound, moved.astype(old.dtype), old), mode='drop'),
      num_updates=state.num_updates.at[rows].set(
          counts + is_sound.astype(counts.dtype), mode='drop'),
  )


def gather_rows(
    state: IndicatorState,
    instance_ids: jax.Array,
    *,
    axis_name: mapped_axis.AxisName = None,
) -> IndicatorState:
  """Returns the rows of the table that a batch may have changed.

  Args:
    state: indicators of all weak instances of the set.
    instance_ids: ids of the batch, int [B], which are gathered over all shards.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    A state of one row per id of the global batch; 0 for an id without a row.
  """
  rows = guards.gather_rows(
      _rows(instance_ids, len(state.weights)), axis_name=axis_name)
  if not state.weights.size:
    return state
  return IndicatorState(
      *(x.at[rows].get(mode='fill', fill_value=0) for x in state))


def put_rows(
    state: IndicatorState,
    instance_ids: jax.Array,
    found: IndicatorState,
    *,
    axis_name: mapped_axis.AxisName = None,
) -> IndicatorState:
  """Replaces rows of the table: the inverse of `gather_rows`.

  Args:
    state: indicators of all weak instances of the set.
    instance_ids: ids of the batch, int [B].
    found: the new rows, in the form that `gather_rows` returns.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    The new state; an id without a row has no effect.
  """
  rows = guards.gather_rows(
      _rows(instance_ids, len(state.weights)), axis_name=axis_name)
  if not state.weights.size:
    return state
  return IndicatorState(
      *(x.at[rows].set(new, mode='drop')
        for x, new in zip(state, found, strict=True)))


def of_instances(state: IndicatorState) -> IndicatorState:
  """Returns a state with one indicator per instance.

  Args:
    state: indicators of all weak instances of the set.

  Returns:
    The state itself, or, if it holds indicators per class, their mean over the
    classes, float32 [N], and the largest of their numbers of updates.
  """
  if state.weights.ndim == 1:
    return state
  return IndicatorState(
      state.weights.mean(-1), state.num_updates.max(-1))


def indicator_health(state: IndicatorState) -> types.Metrics:
  """Returns scalars that show whether the indicators are healthy or collapsed.

  Args:
    state: indicators of all weak instances of the set.

  Returns:
    `mean`; `share_at_0` and `share_at_1`, the shares of indicators at either
    bound; and `effective_share` = (sum w)^2 / (N sum w^2), which is Kish's
    effective sample size divided by N: 1 if all indicators are equal, 1 / N if
    all but one are 0, and 0 if all are 0.
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
