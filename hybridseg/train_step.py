"""One update of two networks: every method is a choice of parts."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hybridseg import co_regularization
from hybridseg import guards
from hybridseg import inference
from hybridseg import losses as losses_lib
from hybridseg import mapped_axis
from hybridseg import method_parts
from hybridseg import metrics as metrics_lib
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
  """Folds each instance's position in the *global* batch into `key`, [num].

  No random number then depends on how many devices share the batch.
  """
  first = mapped_axis.shard_index(axis_name) * num
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(
      first + jnp.arange(num, dtype=jnp.int32)
  )


def _named(name, pair):
  """Names what there is of either network: name_0, name_1."""
  return {f'{name}_{i}': x for i, x in enumerate(pair)}


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
    axis_name: mapped_axis.AxisName = None,
) -> Callable[..., tuple[TrainState, dict[str, Any]]]:
  """Assembles `(state, batch, key) -> (state, metrics)`; pure, not jitted.

  Both networks n descend, with B weak instances of weight w_k,

    strong_scale * mean_i strong_i(theta_n)
      + weak_scale * (1 / B) sum_k w_k weak_k(theta_n)
      + scale(step) * (1 / B) sum_k cross_pseudo_k(theta_n; t(w), theta_other),

  where the trust t in a pseudo label is a function of w (`CoRegularization`),
  and 1 on an image without any annotation, whose indicator does not move. With
  `co_reg.teacher` 'mean', theta_n is taught by its own mean instead; with
  'self', by itself. With `supervision.weak_head`, weak_k is the loss of a
  second last layer.

  Where w moves (`weighting`), it moves first, by the alignments of both
  networks at theta, and the step then uses the new weights: Pan et al., 2022
  (https://arxiv.org/abs/2203.05956, Algorithm 1). One forward pass on the weak
  images serves their loss, their alignments and the pseudo labels.

  A step that meets a nan or an infinity, in whichever network, changes neither
  network, optimiser state, indicator nor weight net: it only counts itself, and
  says what it met where. A weight of 0 is no shelter: 0 * nan is nan.

  Deviations from Algorithm 1, which moves the indicators of all weak instances,
  after the networks: those of the batch move, before them; the lookahead sees
  the weak labels through `supervision.alignment_loss_fn`, alignments have root
  mean square 1 per batch and network, and the two networks share one indicator
  per instance.

  Args:
    apply_fn: maps params and float images [B, H, W, C] to logits [B, H, W, K].
    optimizer: called once per network, so that clipping cannot couple them.
    num_classes: number of classes K.
    features_fn: maps params and images to logits and the features that the last
      layer, params['head'], reads; needed by 'dii_last_layer' and by
      `supervision.weak_head` only.
    augment_fn: maps keys [B] and stored examples to float examples.
    supervision: the losses.
    weighting: how the weak instances are weighted.
    co_reg: how the networks teach each other.
    encode_fn: the part of the network that is never trained and is the same in
      both networks, which then share what it makes of images; `apply_fn` and
      `features_fn` must take that. Examples whose images are encoded already
      are not encoded again.
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    A step function. Its metrics are means over the global batch, nan where that
    is what they were; `skipped`, 1.0 or 0.0; and `nonfinite`, a dict of what
    was not finite: `terms`, name -> bool [], and `strong` and `weak`, bool [B]
    of the global batch: whose loss, alignment or pseudo label was not. An
    alignment with a bad strong gradient is held against no weak instance.

  Raises:
    ValueError: if the parts do not make a method, see `method_parts.check`.
  """
  method_parts.check(
      supervision, weighting, co_reg, weightings=tuple(weight_rules.RULES),
      has_features=features_fn is not None)
  weak_gradients = weak_gradients_lib.make_weak_gradients(
      apply_fn, features_fn=features_fn, supervision=supervision,
      weighting=weighting, axis_name=axis_name)
  use_strong_grads = bool(
      supervision.strong_scale) or weighting.name != 'uniform'
  use_weak = bool(supervision.weak_scale)
  use_co_reg = bool(co_reg.scale)
  use_means = method_parts.has_mean_teachers(co_reg)
  pmean = lambda tree: mapped_axis.pmean(tree, axis_name)
  gather = lambda rows: guards.gather_rows(rows, axis_name=axis_name)

  def strong_loss(params, images, labels, where):
    """Returns the mean loss and the losses [B] that it averages."""
    logits = apply_fn(params, images)
    losses = supervision.strong_loss_fn(logits, labels, where=where)
    return jnp.mean(losses), losses

  def train_step(state, batch, key):
    key = jax.random.fold_in(key, state.step)
    strong_key, weak_key, mix_key = jax.random.split(key, 3)

    def encode(images):
      if encode_fn is None or isinstance(images, types.Encoded):
        return images
      return encode_fn(state.params[0], images)

    def prepare(key, examples):
      keys = instance_keys(key, examples.label.shape[0], axis_name=axis_name)
      examples = augment_fn(keys, examples)
      return encode(examples.image), *losses_lib.one_hot_labels(
          examples.label, num_classes
      )

    strong = prepare(strong_key, batch.strong)
    strong_fn = lambda p: strong_loss(p, *strong)
    if use_strong_grads:
      strong_values, strong_grads = zip(*(
          jax.value_and_grad(strong_fn, has_aux=True)(p) for p in state.params
      ), strict=True)
    else:  # The loss is still reported: no network learns these masks.
      strong_values = [strong_fn(p) for p in state.params]
      strong_grads = jax.tree.map(jnp.zeros_like, state.params)
    strong_means, strong_losses = zip(*strong_values, strict=True)
    # Averaged before the alignments: every device weights its instances by the
    # gradient of the global strong batch.
    strong_grads = pmean(strong_grads)
    metrics = {'strong_loss': pmean(sum(strong_means) / 2)}
    strong_scale = method_parts.scale_at(supervision.strong_scale, state.step)
    grads = jax.tree.map(lambda g: strong_scale * g, strong_grads)
    moved = state
    # What must be finite, by name; the same on all devices, or they part.
    terms = {
        'strong_loss': metrics['strong_loss'],
        **_named('strong_grad', strong_grads),
    }
    bad_weak = jnp.zeros(batch.weak.label.shape[0], bool)

    if use_weak or use_co_reg:
      weak = prepare(weak_key, batch.weak)
      if supervision.by_kind:
        weak += (batch.weak.kind, batch.weak.present)
      is_unlabelled = types.is_unlabelled(batch.weak)
      num_weak = batch.weak.label.shape[0]
      linear = [weak_gradients.linearize(p, weak) for p in state.params]
      taught = [l.aux[0] for l in linear]
      if use_means:
        taught = [apply_fn(p, weak[0]) for p in state.teachers]
      elif co_reg.teacher == 'other':
        taught = taught[::-1]
      # Pseudo labels are taken of all pixels, known or not; nan would win.
      bad_weak |= guards.nonfinite_rows([
          [l.losses for l in linear] if use_weak else [],
          taught if use_co_reg else [],
      ])

      mean_alignments = functools.partial(
          weak_gradients_lib.mean_alignments, weak_gradients, state.params,
          weak, linear, strong_fn, strong_grads, axis_name=axis_name)
      weights, moved, bad_alignment = weight_rules.weigh(
          weighting, state,
          weight_rules.Batch(
              batch.weak.instance_id, sum(l.losses[0] for l in linear) / 2,
              mean_alignments, is_unlabelled),
          axis_name=axis_name)
      metrics['weak_loss'] = pmean(
          sum(jnp.mean(l.losses[0]) for l in linear) / 2
      )
      metrics['mean_weight'] = pmean(jnp.mean(weights))

    if use_weak:
      weak_scale = method_parts.scale_at(supervision.weak_scale, state.step)
      cotangent = weak_scale * weights / num_weak
      weak_grads = pmean(tuple(
          weak_gradients.weighted_grads(l, cotangent) for l in linear))
      grads = jax.tree.map(jnp.add, grads, weak_grads)
      terms |= {
          'weak_loss': metrics['weak_loss'], **_named('weak_grad', weak_grads)
      }

    if use_co_reg:
      masks = method_parts.MIXINGS[co_reg.mixing](
          instance_keys(mix_key, num_weak, axis_name=axis_name),
          batch.weak.label.shape[1:3],
      )
      trust = jnp.where(is_unlabelled, 1, TRUSTS[co_reg.trust](weights))
      value, cross_grads = pmean(co_regularization.taught_value_and_grads(
          apply_fn, state.params, types.pixels(weak[0]), taught, trust, masks,
          encode_fn=encode,
          losses_fn=co_regularization.consistency_losses if use_means else
          co_regularization.cross_pseudo_losses))
      scale = co_regularization.ramp_up(
          state.step, scale=co_reg.scale, ramp_up_steps=co_reg.ramp_up_steps
      )
      grads = jax.tree.map(lambda g, c: g + scale * c, grads, cross_grads)
      metrics['co_reg_loss'] = value
      terms |= {'co_reg_loss': value, **_named('co_reg_grad', cross_grads)}

    with jax.numpy_dtype_promotion('standard'):  # As optax's Adam needs it.
      updates, opt_states = zip(*(
          optimizer.update(g, s, p) for g, s, p in zip(
              grads, state.opt_states, state.params, strict=True)
      ), strict=True)
    params = tuple(map(optax.apply_updates, state.params, updates))

    teachers = state.teachers
    if use_means:
      teachers = co_regularization.update_teachers(
          teachers, params, step=state.step, decay=co_reg.decay)
    terms['update'] = (params, opt_states, teachers, moved.weight_net)
    # The stored table too: clipping would make a number of infinity.
    terms['indicator'] = (
        state.indicators.weights, moved.indicators.weights,
        metrics.get('mean_weight'),
    )
    nonfinite = {n: ~guards.all_finite(tree) for n, tree in terms.items()}
    if weighting.name != 'uniform':
      nonfinite['alignment'] = jnp.any(gather(bad_alignment))
      bad_weak |= bad_alignment & guards.all_finite(strong_grads)
    ok = ~jnp.any(jnp.stack(list(nonfinite.values())))
    new = moved._replace(
        params=params, opt_states=opt_states, teachers=teachers)
    state = guards.select(ok, new, state)
    skipped = 1 - ok.astype(jnp.int32)
    metrics |= {
        'mean_indicator': jnp.mean(state.indicators.weights),
        'skipped': skipped.astype(jnp.float32),
        'nonfinite': {
            'terms': nonfinite,
            'strong': gather(guards.nonfinite_rows(strong_losses)),
            'weak': gather(bad_weak),
        },
    }
    state = state._replace(
        step=state.step + 1,
        num_skipped=state.num_skipped + skipped,
        num_skipped_in_a_row=skipped * (state.num_skipped_in_a_row + 1),
    )
    return state, metrics

  return train_step


def make_eval_step(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    *,
    num_classes: int,
    image_fn: Callable[[jax.Array], jax.Array],
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Assembles `(params, examples) -> (predictions, counts)`; pure, not jitted.

  The prediction is the class of the largest mean probability of the two
  networks.

  Args:
    apply_fn: maps params and float images to logits [B, H, W, K].
    num_classes: number of classes K.
    image_fn: maps stored images, uint8, to the network's input.

  Returns:
    A function that returns predictions, uint8 [B, H, W], and
    `metrics.confusion_counts`, int32 [B, K, 3].
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
