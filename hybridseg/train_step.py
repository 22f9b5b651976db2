"""The training step of two networks, assembled from the parts of a method."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hybridseg import co_regularization
from hybridseg import guards
from hybridseg import indicators as indicators_lib
from hybridseg import inference
from hybridseg import losses as losses_lib
from hybridseg import mapped_axis
from hybridseg import method_parts
from hybridseg import metrics as metrics_lib
from hybridseg import terms as terms_lib
from hybridseg import types
from hybridseg import weak_gradients as weak_gradients_lib
from hybridseg import weight_rules
from hybridseg.method_parts import CoRegularization
from hybridseg.method_parts import LossFn
from hybridseg.method_parts import Supervision
from hybridseg.method_parts import TRUSTS
from hybridseg.method_parts import Weighting
from hybridseg.train_state import eval_params
from hybridseg.train_state import init_state
from hybridseg.train_state import TrainState

__all__ = (
    'CoRegularization',
    'LossFn',
    'Supervision',
    'TRUSTS',
    'TrainState',
    'Weighting',
    'eval_params',
    'init_state',
    'instance_keys',
    'make_eval_step',
    'make_train_step',
)


def instance_keys(
    key: jax.Array, num: int, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Derives a key for each instance from its position in the *global* batch.

  Random numbers then do not depend on how many devices share the batch.

  Args:
    key: key of the step, the same on all devices.
    num: number of instances of this shard.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Keys, [num].
  """
  first = mapped_axis.shard_index(axis_name) * num
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(
      first + jnp.arange(num, dtype=jnp.int32)
  )


def make_train_step(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    num_classes: int,
    features_fn: Callable[..., tuple[jax.Array, jax.Array]] | None = None,
    augment_fn: Callable[[jax.Array, types.Examples], types.Examples],
    supervision: Supervision,
    weighting: Weighting = Weighting(),
    co_reg: CoRegularization = CoRegularization(),
    encode_fn: Callable[[types.Params, jax.Array], types.Encoded] | None = None,
    coarser_fn: Callable[..., Any] | None = None,
    axis_name: mapped_axis.AxisName = None,
) -> Callable[..., tuple[TrainState, dict[str, Any]]]:
  """Assembles the training step `(state, batch, key) -> (state, metrics)`.

  With B weak instances of weights w_k, each of the two networks n descends

    strong_scale * mean_i strong_i(theta_n)
      + weak_scale * (1 / B) sum_k w_k weak_k(theta_n)
      + scale(step) * (1 / B) sum_k cross_pseudo_k(theta_n; t(w), theta_other),

  where cross_pseudo_k is the loss against the pseudo label of the other
  network, and the trust t in a pseudo label is a function of w
  (`CoRegularization`). An image without an annotation has a trust of 1, and its
  indicator does not move. With `co_reg.teacher` 'mean', the teacher of theta_n
  is its own moving average instead of the other network; with 'self', it is
  theta_n itself. With `supervision.weak_head`, weak_k is the loss of a second
  last layer.

  If the rule of `weighting` changes w, it does so first, based on the
  alignments of both networks at theta, and the step then uses the new weights:
  Pan et al., 2022 (https://arxiv.org/abs/2203.05956, Algorithm 1). One forward
  pass on the weak images serves their loss, their alignments and the pseudo
  labels.

  If a nan or an infinity occurs in either network, the step is skipped: both
  networks, their optimiser states, the indicators and the state of the
  weighting rule stay unchanged. The step only counts the skipped update and
  reports where the bad number occurred. An instance with a weight of 0 can
  cause this, too, because 0 * nan is nan.

  With `coarser_fn`, strong_i and weak_k are the weighted means over all outputs
  of a network, `deep_supervision.combined_losses`. The finest output alone
  makes pseudo labels, learns them, and decides the indicators: alignments of
  the last layer are those of its own losses, scaled by its weight, because no
  other output depends on that layer.

  There are four deviations from Algorithm 1. It moves the indicators of all
  weak instances after the networks; here, only the indicators of the batch
  move, before the networks.
  The lookahead sees the weak labels through `supervision.alignment_loss_fn`.
  Alignments are scaled to a root mean square of 1 per batch and network. The
  two networks share one indicator per instance. With `weighting.per_class`, an
  instance has one per foreground class, and the sum over k is also over the
  classes, w_kc weak_kc.

  Args:
    apply_fn: maps params and float images [B, H, W, C] to logits [B, H, W, K].
    optimizer: optimiser, called once per network, so that gradient clipping
      cannot couple the networks.
    num_classes: number of classes K.
    features_fn: maps params and images to logits and to the features that the
      last layer, params['head'], reads. Only `supervision.weak_head` and rules
      with `needs_features`, such as 'dii_last_layer', need it.
    augment_fn: maps keys [B] and stored examples to float examples.
    supervision: the losses.
    weighting: how the weak instances are weighted.
    co_reg: how the networks teach each other.
    encode_fn: maps params and images to the output of a part of the network
      that is never trained. This part is the same in both networks, which share
      its output. `apply_fn` and `features_fn` must accept this output. Images
      that are encoded already are not encoded again.
    coarser_fn: maps params and images to logits, features and a tuple of
      coarser logits, the finest first; None trains without deep supervision.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    A pure step function, not jitted. Its metrics are means over the global
    batch, which may be nan; `skipped`, 1.0 or 0.0; and `nonfinite`, a dict that
    shows which values were not finite. Its entry `terms` maps the names of
    values to bool []. Its entries `strong` and `weak`, bool [B] over the global
    batch, mark the instances whose loss, alignment or pseudo label was not
    finite. If the strong gradient is not finite, no weak instance is marked for
    its alignment.

  Raises:
    ValueError: if the parts do not fit together, see `method_parts.check`.
  """
  rule = weight_rules.find(weighting.name)
  method_parts.check(
      supervision, weighting, co_reg, rule=rule,
      has_features=features_fn is not None,
      has_coarser=coarser_fn is not None)
  weak_gradients = weak_gradients_lib.make_weak_gradients(
      apply_fn, features_fn=features_fn, coarser_fn=coarser_fn,
      supervision=supervision, weighting=weighting, rule=rule,
      axis_name=axis_name)

  def train_step(state, batch, key):
    strong_key, weak_key, mix_key = jax.random.split(
        jax.random.fold_in(key, state.step), 3)
    encode = lambda images: _encode(encode_fn, state.params[0], images)
    view = lambda key, examples: _view(
        examples, key, num_classes, augment_fn, encode, axis_name)

    strong_fn = terms_lib.strong_fn(
        apply_fn, supervision.strong_loss_fn, *view(strong_key, batch.strong),
        coarser_fn=coarser_fn)
    # This is the gradient over the global batch, so that all devices use the
    # same gradient for the weights.
    strong = terms_lib.strong_term(
        strong_fn, state.params,
        factor=method_parts.scale_at(supervision.strong_scale, state.step),
        has_grads=bool(supervision.strong_scale) or rule.needs_alignments,
        axis_name=axis_name)
    terms, weighed = [strong], None

    if supervision.weak_scale or co_reg.scale:
      weak = view(weak_key, batch.weak)
      if supervision.by_kind:
        weak += (batch.weak.kind, batch.weak.present)
      linear = [weak_gradients.linearize(p, weak) for p in state.params]
      mean_alignments = lambda: weak_gradients_lib.mean_alignments(
          weak_gradients, state.params, weak, linear, strong_fn, strong.grads,
          axis_name=axis_name)
      weighed = weight_rules.weigh(
          weighting,
          method_parts.RuleState(state.indicators, state.weight_net),
          method_parts.WeakBatch(
              state.step, batch.weak.instance_id,
              sum(l.losses[0] for l in linear) / 2, mean_alignments,
              types.is_unlabelled(batch.weak)),
          axis_name=axis_name)
      terms.append(terms_lib.weak_term(
          weak_gradients, linear, weighed.weights, state.step,
          scale=supervision.weak_scale, axis_name=axis_name))

    if co_reg.scale:
      masks = method_parts.MIXINGS[co_reg.mixing](
          instance_keys(mix_key, len(weighed.weights), axis_name=axis_name),
          batch.weak.label.shape[1:])
      terms.append(terms_lib.taught_term(
          apply_fn, state, weak[0], [l.aux[0] for l in linear],
          weighed.weights, masks, co_reg=co_reg,
          is_unlabelled=types.is_unlabelled(batch.weak), encode_fn=encode,
          axis_name=axis_name))

    new = _moved(state, terms, weighed, optimizer, co_reg)
    return _guarded(state, new, terms, weighed, batch, axis_name)

  return train_step


def _encode(encode_fn, params, images):
  """Encodes images with the part of the network that is never trained.

  Images that are encoded already are returned unchanged.
  """
  if encode_fn is None or isinstance(images, types.Encoded):
    return images
  return encode_fn(params, images)


def _view(examples, key, num_classes, augment_fn, encode, axis_name):
  """Augments a batch; returns images, one-hot labels and labelled pixels."""
  keys = instance_keys(key, examples.label.shape[0], axis_name=axis_name)
  examples = augment_fn(keys, examples)
  return encode(examples.image), *losses_lib.one_hot_labels(
      examples.label, num_classes)


def _moved(state, terms, weighed, optimizer, co_reg):
  """Returns the state after the update, which may hold nans or infinities."""
  grads = terms_lib.total_grads(terms)
  with jax.numpy_dtype_promotion('standard'):  # Optax's Adam needs this.
    updates, opt_states = zip(*(
        optimizer.update(g, s, p) for g, s, p in zip(
            grads, state.opt_states, state.params, strict=True)
    ), strict=True)
  params = tuple(map(optax.apply_updates, state.params, updates))
  new = state._replace(params=params, opt_states=opt_states)
  if method_parts.has_mean_teachers(co_reg):
    new = new._replace(teachers=co_regularization.update_teachers(
        state.teachers, params, step=state.step, decay=co_reg.decay))
  if weighed is not None:
    new = new._replace(
        indicators=weighed.state.indicators, weight_net=weighed.state.own)
  return new


def _guarded(state, new, terms, weighed, batch, axis_name):
  """Returns the new state and the metrics.

  If a value of the step is not finite, the old state is kept, and only its
  counters change.
  """
  metrics = {f'{t.name}_loss': t.loss for t in terms}
  # A step changes no other rows of the table, which may have millions.
  rows, new_rows = (
      indicators_lib.gather_rows(
          s.indicators, batch.weak.instance_id, axis_name=axis_name)
      for s in (state, new))
  if weighed is not None:
    metrics['mean_weight'] = mapped_axis.pmean(
        jnp.mean(weighed.weights), axis_name)
  nonfinite = _nonfinite(
      new, (rows.weights, new_rows.weights, metrics.get('mean_weight')), terms,
      weighed, axis_name)
  ok = ~jnp.any(jnp.stack(list(nonfinite.values())))
  indicators = new.indicators
  if indicators is not state.indicators:
    indicators = indicators_lib.put_rows(
        indicators, batch.weak.instance_id, guards.select(ok, new_rows, rows),
        axis_name=axis_name)
  state = guards.select(
      ok, new._replace(indicators=None), state._replace(indicators=None)
  )._replace(indicators=indicators)
  skipped = 1 - ok.astype(jnp.int32)
  metrics |= {
      'skipped': skipped.astype(jnp.float32),
      'nonfinite': {
          'terms': nonfinite,
          **_nonfinite_rows(terms, weighed, batch, axis_name)},
  }
  state = state._replace(
      step=state.step + 1,
      num_skipped=state.num_skipped + skipped,
      num_skipped_in_a_row=skipped * (state.num_skipped_in_a_row + 1),
  )
  return state, metrics


def _nonfinite(new, indicators, terms, weighed, axis_name):
  """Returns which parts of the step are not finite, by name, bool [] each.

  Old indicators are among those to check, because clipping turns an infinity
  into a finite number. The results are the same on all devices; otherwise, the
  states of the devices would diverge.
  """
  checked = {}
  for term in terms_lib.learnt(terms):
    checked[f'{term.name}_loss'] = term.loss
    for i, grads in enumerate(term.grads):
      checked[f'{term.name}_grad_{i}'] = grads
  checked['update'] = (
      new.params, new.opt_states, new.teachers, new.weight_net)
  checked['indicator'] = indicators
  nonfinite = {n: ~guards.all_finite(tree) for n, tree in checked.items()}
  if weighed is not None and weighed.is_bad is not None:
    nonfinite['alignment'] = jnp.any(
        guards.gather_rows(weighed.is_bad, axis_name=axis_name))
  return nonfinite


def _nonfinite_rows(terms, weighed, batch, axis_name):
  """Returns which instances of the global batch caused nans or infinities."""
  strong, *others = terms_lib.learnt(terms)
  is_bad = jnp.zeros(batch.weak.label.shape[0], bool)
  for term in others:
    is_bad |= term.is_bad
  if weighed is not None and weighed.is_bad is not None:
    # If the strong gradient is not finite, no alignment is finite either, and
    # the alignments do not show which instance is at fault.
    is_bad |= weighed.is_bad & guards.all_finite(strong.grads)
  gather = lambda rows: guards.gather_rows(rows, axis_name=axis_name)
  return {'strong': gather(strong.is_bad), 'weak': gather(is_bad)}


def make_eval_step(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    *,
    num_classes: int,
    image_fn: Callable[[jax.Array], jax.Array],
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Assembles the function `(params, examples) -> (predictions, counts)`.

  The prediction is the class with the largest mean probability of the two
  networks.

  Args:
    apply_fn: maps params and float images to logits [B, H, W, K].
    num_classes: number of classes K.
    image_fn: maps stored images, uint8, to the input of the networks.

  Returns:
    A pure function, not jitted, that returns predictions, uint8 [B, H, W], and
    their `metrics.confusion_counts`, int32 [B, K, 3].
  """

  def eval_step(params: Any, examples: types.Examples):
    images = image_fn(examples.image)
    probs = inference.mean_probabilities(apply_fn, params, images)
    predictions = jnp.argmax(probs, axis=-1).astype(jnp.uint8)
    counts = metrics_lib.confusion_counts(
        predictions, examples.label, num_classes=num_classes
    )
    return predictions, counts

  return eval_step
