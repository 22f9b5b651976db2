"""The rules by which the weak instances of a batch get their weights."""

import jax
import jax.numpy as jnp

from hybridseg import indicators as indicators_lib
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import meta_weight_net
from hybridseg import method_parts
from hybridseg import weighting as weighting_lib


def _uniform(weighting, state, batch, *, axis_name):
  """Gives every instance the weight 1."""
  del weighting, axis_name
  return method_parts.Weighed(jnp.ones_like(batch.losses), state)


def _l2rw(weighting, state, batch, *, axis_name):
  """Computes the weights of `l2rw_weights`, scaled to a mean of 1.

  With this mean, `weak_scale` has the same meaning as for the other rules.
  """
  del weighting
  num = batch.losses.shape[0]
  total = num * mapped_axis.num_shards(axis_name)
  alignments, is_bad = batch.mean_alignments()
  weights = total * weighting_lib.l2rw_weights(-alignments, axis_name=axis_name)
  return method_parts.Weighed(weights, state, is_bad)


def _indicators(weighting, state, batch, *, axis_name):
  """Weights each instance by its indicator, which moves along its alignment."""

  def align():
    alignments, is_bad = batch.mean_alignments()
    return masking.widen(alignments), is_bad

  none_bad = jnp.zeros(batch.losses.shape[0], bool)
  indicators, is_bad, ids = state.indicators, none_bad, batch.instance_ids
  if weighting.instances != 'all':  # Else, `indicator_step` moves indicators.
    if weighting.every_steps == 1 and not weighting.start_step:
      alignments, is_bad = align()
    else:
      due = (batch.step % weighting.every_steps == 0) & (
          batch.step >= weighting.start_step)
      none = jnp.zeros_like(masking.widen(batch.losses))
      # The table stays outside of the condition, which would copy it.
      alignments, is_bad = jax.lax.cond(due, align, lambda: (none, none_bad))
      ids = jnp.where(due, ids, -1)
    indicators = move_indicators(
        weighting, indicators, ids, alignments,
        is_unlabelled=batch.is_unlabelled, axis_name=axis_name)
  weights = indicators_lib.gather_indicators(indicators, batch.instance_ids)
  return method_parts.Weighed(
      weights, state._replace(indicators=indicators), is_bad)


def move_indicators(
    weighting: method_parts.Weighting,
    indicators: indicators_lib.IndicatorState,
    instance_ids: jax.Array,
    alignments: jax.Array,
    *,
    is_unlabelled: jax.Array | bool = False,
    axis_name: mapped_axis.AxisName = None,
) -> indicators_lib.IndicatorState:
  """Returns the indicators after an update along the alignments of a batch.

  Args:
    weighting: learning rate, and whether to subtract a negative mean.
    indicators: indicators of all weak instances of the set.
    instance_ids: rows to update, int32 [B]; -1 for an instance that has no
      indicator.
    alignments: <grad strong, grad weak_k>, float [B]; per class, [B, K - 1].
    is_unlabelled: which images have no annotation, so that their indicators do
      not move, bool [B] or False.
    axis_name: mapped axis over which the batch is sharded, or None.
  """
  if weighting.without_common_harm:
    alignments = weighting_lib.without_common_harm(
        alignments, axis_name=axis_name)
  if alignments.ndim > 1 and not isinstance(is_unlabelled, bool):
    is_unlabelled = is_unlabelled[:, None]
  alignments = jnp.where(is_unlabelled, 0, alignments)
  return indicators_lib.update_indicators(
      indicators, instance_ids, -alignments,
      learning_rate=weighting.learning_rate, axis_name=axis_name)


RULES: dict[str, method_parts.WeightingRule] = {
    'uniform': method_parts.WeightingRule(_uniform, needs_alignments=False),
    'dii': method_parts.WeightingRule(_indicators, is_persistent=True),
    'dii_last_layer': method_parts.WeightingRule(
        _indicators, needs_features=True, is_persistent=True),
    'l2rw': method_parts.WeightingRule(_l2rw),
    'meta_weight_net': meta_weight_net.RULE,
}


def find(name: str) -> method_parts.WeightingRule:
  """Returns the rule with this name.

  Raises:
    ValueError: if there is no such rule.
  """
  if name not in RULES:
    raise ValueError(f'Unknown weighting {name!r}; known: {tuple(RULES)}.')
  return RULES[name]


def persistent() -> tuple[str, ...]:
  """Returns the names of the rules whose weights are the indicators."""
  return tuple(name for name, rule in RULES.items() if rule.is_persistent)


def weigh(
    weighting: method_parts.Weighting,
    state: method_parts.RuleState,
    batch: method_parts.WeakBatch,
    *,
    axis_name: mapped_axis.AxisName = None,
) -> method_parts.Weighed:
  """Updates the state of the weighting rule, then weights a batch.

  Args:
    weighting: name and options of the rule.
    state: state of the rule before the update.
    batch: losses and further data of the weak instances.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    The weights, the state after the update, and which alignments are not
    finite.

  Raises:
    ValueError: if `weighting` names no rule, if the state was initialised for
      another rule, or if the rule calls `mean_alignments` although its
      `needs_alignments` is False.
  """
  rule = find(weighting.name)
  if rule.init and state.own is None:
    raise ValueError(
        f'The state holds nothing of weighting {weighting.name!r}: give '
        'init_state the same weighting.')
  if not rule.needs_alignments:
    batch = batch._replace(mean_alignments=_refuse_alignments)
  return rule.weigh(weighting, state, batch, axis_name=axis_name)


def _refuse_alignments():
  # Alignments would be wrong: their loss and the strong gradient were not
  # computed.
  raise ValueError(
      'A rule that calls mean_alignments must set needs_alignments=True.')
