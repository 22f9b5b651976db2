"""The state of a run, which the training step updates."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hybridseg import indicators as indicators_lib
from hybridseg import method_parts
from hybridseg import types
from hybridseg import weight_rules


class TrainState(NamedTuple):
  """Everything that a training step reads and writes.

  Attributes:
    step: number of updates done or skipped, int32 [].
    params: the two parameter sets, a 2-tuple of pytrees. They are not stacked,
      because `jax.vmap` turns convolutions into grouped ones, which are more
      than twice as slow.
    opt_states: optimiser states of the two networks, a 2-tuple.
    indicators: indicators of all weak instances.
    num_skipped: number of updates skipped because of a nan or an infinity,
      int32 [].
    num_skipped_in_a_row: number of updates skipped since the last one that was
      done, int32 [].
    teachers: moving averages of the parameter sets, a 2-tuple; None if the
      method does not use them.
    weight_net: `RuleState.own` of the weighting rule, any pytree; None if the
      rule has none. The field is named after the first rule that had such a
      state, because checkpoints store this name.
  """

  step: jax.Array
  params: tuple[types.Params, types.Params]
  opt_states: tuple[optax.OptState, optax.OptState]
  indicators: indicators_lib.IndicatorState
  num_skipped: jax.Array
  num_skipped_in_a_row: jax.Array
  teachers: tuple[types.Params, types.Params] | None = None
  weight_net: Any = None


def init_state(
    model_init: Callable[[jax.Array], types.Params],
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    num_weak: int,
    num_classes: int | None = None,
    indicator_value: float = 1.0,
    weak_head: bool = False,
    weighting: method_parts.Weighting = method_parts.Weighting(),
    co_reg: method_parts.CoRegularization = method_parts.CoRegularization(),
) -> TrainState:
  """Initialises two networks, from different keys, and the indicators.

  Args:
    model_init: maps a key to a parameter set.
    optimizer: optimiser of each network.
    key: key of the run.
    num_weak: number of weak instances N of the set.
    num_classes: number of classes K; only `weighting.per_class` needs it.
    indicator_value: initial value of every indicator.
    weak_head: as in `Supervision`; the weak head starts as a copy of
      params['head'].
    weighting: how the weak instances are weighted, as for `make_train_step`.
    co_reg: how the networks are taught, as for `make_train_step`.

  Returns:
    The state before the first update.

  Raises:
    ValueError: if no rule has the name of the weighting, or if
      `weighting.per_class` lacks `num_classes`.
  """
  if weighting.per_class and num_classes is None:
    raise ValueError('weighting.per_class needs num_classes.')
  # `jax.transfer_guard('disallow')` permits these explicit transfers.
  number = lambda i, dtype: jax.device_put(np.array(i, dtype))
  fold_in = lambda i: jax.random.fold_in(key, number(i, np.uint32))
  params = tuple(model_init(fold_in(i)) for i in range(2))
  if weak_head:
    params = tuple(
        {**p, method_parts.WEAK_HEAD: jax.tree.map(
            jnp.array, p[method_parts.HEAD])} for p in params)
  teachers = None
  if method_parts.has_mean_teachers(co_reg):
    # Copy the parameters, since a step donates all buffers of the state.
    teachers = jax.tree.map(jnp.array, params)
  rule = weight_rules.find(weighting.name)
  return TrainState(
      step=number(0, np.int32),
      params=params,
      opt_states=tuple(optimizer.init(p) for p in params),
      indicators=indicators_lib.init_indicators(
          num_weak, value=indicator_value,
          num_classes=num_classes if weighting.per_class else None,
      ),
      num_skipped=number(0, np.int32),
      num_skipped_in_a_row=number(0, np.int32),
      teachers=teachers,
      weight_net=rule.init(fold_in(2), num_weak) if rule.init else None,
  )


def eval_params(state: TrainState) -> tuple[types.Params, types.Params]:
  """Returns the parameters of the two networks that predict.

  These are the moving averages if there are any, because the teacher is the
  better model (Tarvainen and Valpola, 2017, https://arxiv.org/abs/1703.01780).
  A weak head is left out, since it does not predict.
  """
  params = state.params if state.teachers is None else state.teachers
  weak_head = method_parts.WEAK_HEAD
  if not isinstance(params[0], Mapping) or weak_head not in params[0]:
    return params
  first, second = (
      {name: x for name, x in p.items() if name != weak_head} for p in params)
  return first, second
