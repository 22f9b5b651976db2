"""The rules that weight the weak instances of a batch, by name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hybridseg import indicators as indicators_lib
from hybridseg import mapped_axis
from hybridseg import meta_weight_net
from hybridseg import method_parts
from hybridseg import train_state
from hybridseg import weighting as weighting_lib


class Batch(NamedTuple):
  """What a rule may ask of the B weak instances of a batch.

  Attributes:
    instance_ids: rows of the indicators, int32 [B].
    losses: training losses, means of the two networks, float [B].
    mean_alignments: maps nothing to the alignments and which of them are not
      finite, float [B] and bool [B]; computed where a rule calls it.
    is_unlabelled: which have no annotation, bool [B] or False.
  """

  instance_ids: jax.Array
  losses: jax.Array
  mean_alignments: Callable[[], tuple[jax.Array, jax.Array]]
  is_unlabelled: Any = False


# (weighting, state before the update, batch, axis_name=) -> weights, float [B];
# the state with other indicators or another weight net; which alignments were
# not finite, bool [B].
Rule = Callable[
    ..., tuple[jax.Array, train_state.TrainState, jax.Array]]


def _uniform(weighting, state, batch, *, axis_name):
  """All weigh 1."""
  del weighting, axis_name
  num = batch.losses.shape[0]
  return jnp.ones_like(batch.losses), state, jnp.zeros(num, bool)


def _l2rw(weighting, state, batch, *, axis_name):
  """Normalised weights of one batch, with a mean of 1.

  So scaled, weak_scale means the same as elsewhere.
  """
  del weighting
  num = batch.losses.shape[0]
  total = num * mapped_axis.num_shards(axis_name)
  alignments, bad = batch.mean_alignments()
  weights = total * weighting_lib.l2rw_weights(-alignments, axis_name=axis_name)
  return weights, state, bad


def _meta_weight_net(weighting, state, batch, *, axis_name):
  """A learnt function of the loss."""
  if state.weight_net is None:
    raise ValueError(
        'The state has no weight net: give init_state the same weighting.')
  alignments, bad = batch.mean_alignments()
  weights, weight_net = meta_weight_net.weigh(
      state.weight_net, batch.losses, alignments,
      learning_rate=weighting.learning_rate, axis_name=axis_name)
  return weights, state._replace(weight_net=weight_net), bad


def _indicators(weighting, state, batch, *, axis_name):
  """One persistent indicator each, which moves along its alignment."""

  def move():
    alignments, bad = batch.mean_alignments()
    moved = move_indicators(
        weighting, state.indicators, batch.instance_ids, alignments,
        is_unlabelled=batch.is_unlabelled, axis_name=axis_name)
    return moved, bad

  none_bad = jnp.zeros(batch.losses.shape[0], bool)
  if weighting.instances == 'all':  # `indicator_step` moves them.
    indicators, bad = state.indicators, none_bad
  elif weighting.every_steps == 1 and not weighting.start_step:
    indicators, bad = move()
  else:
    due = (state.step % weighting.every_steps == 0) & (
        state.step >= weighting.start_step)
    indicators, bad = jax.lax.cond(
        due, move, lambda: (state.indicators, none_bad))
  weights = indicators_lib.gather_indicators(indicators, batch.instance_ids)
  return weights, state._replace(indicators=indicators), bad


def move_indicators(
    weighting: method_parts.Weighting,
    indicators: indicators_lib.IndicatorState,
    instance_ids: jax.Array,
    alignments: jax.Array,
    *,
    is_unlabelled: jax.Array | bool = False,
    axis_name: mapped_axis.AxisName = None,
) -> indicators_lib.IndicatorState:
  """Returns indicators that moved along the alignments of a batch.

  Args:
    weighting: rate, and whether common harm is taken off.
    indicators: of the whole weak set.
    instance_ids: rows that move, int32 [B]; -1 for none.
    alignments: <grad strong, grad weak_k>, float [B].
    is_unlabelled: which have no annotation, and so do not move, bool [B] or
      False.
    axis_name: mapped axis over which the batch is sharded, or None.
  """
  if weighting.without_common_harm:
    alignments = weighting_lib.without_common_harm(
        alignments, axis_name=axis_name)
  alignments = jnp.where(is_unlabelled, 0, alignments)
  return indicators_lib.update_indicators(
      indicators, instance_ids, -alignments,
      learning_rate=weighting.learning_rate, axis_name=axis_name)


RULES: dict[str, Rule] = {
    'uniform': _uniform,
    'dii': _indicators,
    'dii_last_layer': _indicators,
    'l2rw': _l2rw,
    'meta_weight_net': _meta_weight_net,
}
# Whose weights are the persistent indicators of the state.
HAS_INDICATORS = tuple(
    name for name, rule in RULES.items() if rule is _indicators)


def weigh(
    weighting: method_parts.Weighting,
    state: train_state.TrainState,
    batch: Batch,
    *,
    axis_name: mapped_axis.AxisName = None,
) -> tuple[jax.Array, train_state.TrainState, jax.Array]:
  """Returns the weights of a batch; moves what they come from where it is due.

  Args:
    weighting: which rule, and its options.
    state: before the update.
    batch: what is known of the weak instances.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Weights, float [B]; the state with other indicators or another weight net;
    which alignments were not finite, bool [B].

  Raises:
    ValueError: if no rule has this name, or if the state was initialised for
      another weighting.
  """
  if weighting.name not in RULES:
    raise ValueError(
        f'Unknown weighting {weighting.name!r}; known: {tuple(RULES)}.')
  return RULES[weighting.name](weighting, state, batch, axis_name=axis_name)
