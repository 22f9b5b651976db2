"""A step that moves the indicators of a batch but changes no network."""

from collections.abc import Callable
from typing import Any

import jax

from hybridseg import augmentation
from hybridseg import losses as losses_lib
from hybridseg import mapped_axis
from hybridseg import method_parts
from hybridseg import terms
from hybridseg import train_state
from hybridseg import types
from hybridseg import weak_gradients as weak_gradients_lib
from hybridseg import weight_rules


def make_indicator_step(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    *,
    num_classes: int,
    features_fn: Callable[..., tuple[jax.Array, jax.Array]] | None = None,
    supervision: method_parts.Supervision,
    weighting: method_parts.Weighting,
    axis_name: mapped_axis.AxisName = None,
) -> Callable[..., tuple[train_state.TrainState, dict[str, Any]]]:
  """Assembles the indicator step `(state, batch, key) -> (state, metrics)`.

  With both networks at theta and B weak instances, the step computes

    w_k <- clip(w_k + learning_rate * a_k, 0, 1),

  where a_k is the alignment <grad strong(theta), grad weak_k(theta)>. It is
  computed on images without augmentation, and is scaled and averaged over the
  two networks as in `make_train_step`. Calling the step with all weak instances
  in turn performs lines 9 to 19 of Algorithm 1 of Pan et al., 2022
  (https://arxiv.org/abs/2203.05956), with the identity in place of the Hessian.
  Use it if `Weighting.instances` is 'all', since the training step then moves
  no indicators.

  Args:
    apply_fn: maps params and float images [B, H, W, C] to logits [B, H, W, K].
    num_classes: number of classes K.
    features_fn: as for `make_train_step`; only a rule that needs features uses
      it.
    supervision: the losses, as for `make_train_step`.
    weighting: how the weak instances are weighted, as for `make_train_step`;
      the rule must have indicators.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    A pure step function, not jitted, with the signature of a training step, so
    that it can be mapped over devices in the same way. It changes only the
    indicators of the batch. Instances with the id -1 have no indicator and can
    fill up an incomplete batch. The key is not used, and the metrics are empty.

  Raises:
    ValueError: if the weighting names an unknown rule or one without
      indicators.
  """
  rule = weight_rules.find(weighting.name)
  if not rule.is_persistent:
    raise ValueError(
        f'Weighting {weighting.name!r} has no indicators to move; known: '
        f'{weight_rules.persistent()}.')
  weak_gradients = weak_gradients_lib.make_weak_gradients(
      apply_fn, features_fn=features_fn, supervision=supervision,
      weighting=weighting, rule=rule, axis_name=axis_name)

  def prepare(examples):
    # Use the images even if they are encoded: the features belong to augmented
    # views, but this step needs images that are not augmented.
    images = augmentation.to_float(types.pixels(examples.image))
    return images, *losses_lib.one_hot_labels(examples.label, num_classes)

  def indicator_step(state, batch, unused_key):
    strong_fn = terms.strong_fn(
        apply_fn, supervision.strong_loss_fn, *prepare(batch.strong))
    strong = terms.strong_term(
        strong_fn, state.params, factor=1.0, has_grads=True,
        axis_name=axis_name)
    weak = prepare(batch.weak)
    if supervision.by_kind:
      weak += (batch.weak.kind, batch.weak.present)
    linear = [weak_gradients.linearize(p, weak) for p in state.params]
    alignments, _ = weak_gradients_lib.mean_alignments(
        weak_gradients, state.params, weak, linear, strong_fn, strong.grads,
        axis_name=axis_name)
    indicators = weight_rules.move_indicators(
        weighting, state.indicators, batch.weak.instance_id, alignments,
        is_unlabelled=types.is_unlabelled(batch.weak), axis_name=axis_name)
    return state._replace(indicators=indicators), {}

  return indicator_step
