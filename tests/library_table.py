"""Has one call of each public function of the library for `jax.jit`."""

import functools
import inspect

import hybridseg
from hybridseg import alignment_maps
from hybridseg import augmentation
from hybridseg import class_losses
from hybridseg import co_regularization
from hybridseg import deep_supervision
from hybridseg import guards
from hybridseg import indicator_grads
from hybridseg import indicator_step
from hybridseg import indicators
from hybridseg import inference
from hybridseg import kind_losses
from hybridseg import linearization
from hybridseg import losses
from hybridseg import masking
from hybridseg import meta_weight_net
from hybridseg import metrics
from hybridseg import microbatches
from hybridseg import mixing
from hybridseg import models
from hybridseg import refinement
from hybridseg import regularizers
from hybridseg import train_state
from hybridseg import train_step
from hybridseg import types
from hybridseg import volume_augmentation
from hybridseg import weak_losses
from hybridseg import weight_rules
from hybridseg import weighting
import jax
import jax.numpy as jnp
import numpy as np
import optax

NUM_CLASSES, NUM_WEAK, BATCH = 3, 12, 4
# Functions that are not traced by themselves: those of NumPy or the host, those
# that take only shapes or names, and those that the calls below use.
NOT_TRACED = {
    'batch_checks.check_batch', 'deep_supervision.output_weights',
    'inference.merge_tiles',
    'inference.sliding_window', 'inference.window_starts',
    'inference.window_tiles', 'inference.window_weights',
    'inner_optimizers.check_inner_optimizer',
    'inner_optimizers.update_fn', 'loss_functions.check_losses',
    'loss_functions.of_floats', 'loss_functions.split_floats',
    'mapped_axis.check', 'mapped_axis.is_split_by_hand',
    'mapped_axis.num_shards', 'mapped_axis.pmean',
    'mapped_axis.shard_index', 'mapped_axis.varying',
    'masking.check_label_map', 'masking.check_labels',
    'masking.check_pixels', 'masking.space',
    'masking.to_int32', 'masking.wide_dtype', 'method_parts.check',
    'method_parts.has_mean_teachers', 'method_parts.one_weak_loss',
    'method_parts.scale_at', 'metrics.auroc', 'metrics.bootstrap_interval',
    'metrics.calibration_counts', 'metrics.dice_from_counts',
    'metrics.expected_calibration_error', 'metrics.iou_from_counts',
    'metrics.mean_of_counted', 'metrics.precision_from_counts',
    'metrics.recall_from_counts', 'metrics.volume_error_from_counts',
    'models.build', 'parallel.any_process', 'parallel.compile_together',
    'parallel.exit_now', 'parallel.find_cluster', 'parallel.initialize',
    'parallel.is_primary',
    'parallel.make_mapping', 'parallel.num_processes', 'parallel.shard_batch',
    'parallel.to_host', 'terms.learnt', 'terms.strong_fn',
    'terms.strong_term', 'terms.taught_term', 'terms.total_grads',
    'terms.weak_term', 'train_state.eval_params',
    'types.is_unlabelled', 'types.pixels',
    'volume_inference.count_windows',
    'volume_inference.sliding_slabs',
    'volume_inference.sliding_window_volume',
    'warping.blur', 'warping.read_nearest', 'warping.warp_image',
    'warping.warp_label',
    'weak_gradients.make_weak_gradients',
    'weak_gradients.mean_alignments',
    'weight_rules.find', 'weight_rules.move_indicators',
    'weight_rules.persistent', 'weight_rules.weigh'}


def public_functions() -> set[str]:
  """Returns 'module.function' for all public modules of the library."""
  modules = [getattr(hybridseg, name) for name in hybridseg.__all__]
  return {
      f'{module.__name__.split(".", 1)[1]}.{name}'
      for module in modules if inspect.ismodule(module)
      for name, fn in vars(module).items()
      if inspect.isfunction(fn) and fn.__module__ == module.__name__
      and not name.startswith('_')}


def apply_fn(params, images):
  """Applies a linear layer to every pixel."""
  return images @ params['head']['kernel'] + params['head']['bias'].reshape(
      1, 1, 1, -1)


def init_fn(key):
  return {'head': {'kernel': jax.random.normal(key, (1, NUM_CLASSES)),
                   'bias': jnp.zeros(NUM_CLASSES)}}


def features_fn(params, images):
  return apply_fn(params, images), images


def augment_fn(keys, examples):
  return augmentation.augment(
      keys, examples, options=augmentation.AugmentationOptions())


_SUPERVISION = train_step.Supervision(
    losses.cross_entropy_dice_loss, losses.cross_entropy_loss,
    losses.prior_free(losses.cross_entropy_loss))
_BY_KIND = kind_losses.by_kind(
    {types.AnnotationKind.BOX: [
        (1.0, kind_losses.of_labels(weak_losses.box_loss)),
        (0.5, kind_losses.of_pixels(regularizers.entropy_loss)),
        (0.1, kind_losses.of_images(regularizers.gated_crf_loss)),
        (0.1, kind_losses.of_tags(weak_losses.tag_loss))]},
    default=[(1.0, kind_losses.of_labels(losses.cross_entropy_loss))])


def arrays():
  """Returns the arguments of the calls, on the device, so none is transferred.
  """
  rng = np.random.default_rng(0)
  size = (BATCH, 8, 8)
  label = rng.integers(NUM_CLASSES, size=size).astype(np.uint8)
  label[0, :3] = types.UNLABELLED
  image = rng.integers(256, size=(*size, 1)).astype(np.uint8)
  examples = types.Examples(
      image, label, np.arange(BATCH, dtype=np.int32),
      np.int32([2, 3, 7, 9]), np.uint8([[1, 0, 255]] * BATCH))
  key = jax.random.key(0)
  return jax.device_put(dict(
      key=key, keys=jax.random.split(key, BATCH), examples=examples,
      batch=types.HybridBatch(examples, examples),
      logits=rng.normal(size=(*size, NUM_CLASSES)).astype(np.float32),
      labels=np.eye(NUM_CLASSES, dtype=np.float32)[label % NUM_CLASSES],
      where=label != types.UNLABELLED, label=label,
      images=(image / 255).astype(np.float32),
      values=rng.normal(size=BATCH).astype(np.float32),
      params=init_fn(key), step=np.int32(3)))


def _step(name, **co_reg):
  weighting_, co_reg = (
      train_step.Weighting(name, every_steps=2),
      train_step.CoRegularization(scale=0.5, ramp_up_steps=9, **co_reg))

  def call(a):
    optimizer = optax.adam(1e-3)
    state = train_step.init_state(
        init_fn, optimizer, a['key'], num_weak=NUM_WEAK, weighting=weighting_,
        co_reg=co_reg)
    return train_step.make_train_step(
        apply_fn, optimizer, num_classes=NUM_CLASSES, features_fn=features_fn,
        augment_fn=augment_fn, supervision=_SUPERVISION, weighting=weighting_,
        co_reg=co_reg)(state, a['batch'], a['key'])

  return call


def _indicator_step(a):
  weighting_ = train_step.Weighting(name='dii')
  state = train_step.init_state(
      init_fn, optax.sgd(0.1), a['key'], num_weak=NUM_WEAK,
      weighting=weighting_)
  return indicator_step.make_indicator_step(
      apply_fn, num_classes=NUM_CLASSES, supervision=_SUPERVISION,
      weighting=weighting_)(state, a['batch'], a['key'])


def _losses_fn(a):
  return lambda p: losses.cross_entropy_loss(
      apply_fn(p, a['images']), a['labels'], where=a['where'])


def _lookahead(a, **inner):
  weak = _losses_fn(a)
  return weighting.lookahead_weight_grads(
      weak, lambda p: jnp.mean(weak(p)), a['params'], a['values'], **inner)


def _products(linear, a):
  return linear.directional(a['params']), linear.weighted_grads(a['values'])


def _per_instance(a):
  example_loss = lambda p, x: losses.cross_entropy_loss(
      apply_fn(p, x[0][None]), x[1][None])[0]
  return _products(
      linearization.linearize_per_instance(
          example_loss, a['params'], (a['images'], a['labels'])), a)


def _linear_weight_grads(a):
  weak = _losses_fn(a)
  return weighting.linear_weight_grads(
      linearization.linearize_losses(weak, a['params']),
      lambda p: jnp.mean(weak(p)), a['params'], a['values'], step_size=0.1)


def _weigh_net(a):
  return meta_weight_net.weigh(
      meta_weight_net.init_weight_net(a['key']), a['values'], a['values'],
      learning_rate=1e-3)


def _update_indicators(a):
  state = indicators.init_indicators(NUM_WEAK, value=0.5)
  state = indicators.update_indicators(
      state, a['examples'].instance_id, a['values'], learning_rate=0.1)
  return (indicators.gather_indicators(state, a['examples'].instance_id),
          indicators.indicator_health(state))


def _indicators_of_classes(a):
  state = indicators.update_indicators(
      indicators.init_indicators(NUM_WEAK, num_classes=NUM_CLASSES),
      a['examples'].instance_id, a['logits'][:, 0, 0, 1:], learning_rate=0.1)
  return indicators.of_instances(state), indicators.gather_indicators(
      state, a['examples'].instance_id)


def _indicator_rows(a):
  ids = a['examples'].instance_id
  state = indicators.init_indicators(NUM_WEAK, value=0.5)
  return indicators.put_rows(state, ids, indicators.gather_rows(state, ids))


def _indicator_value_and_grad(a):
  weak = _losses_fn(a)
  return indicator_grads.indicator_value_and_grad(
      weak, lambda p: jnp.mean(weak(p)), a['params'],
      indicators.init_indicators(NUM_WEAK), a['examples'].instance_id,
      step_size=0.1, learning_rate=0.1)


def _slopes_of_net(a):
  net = meta_weight_net.init_weight_net(a['key'])
  return meta_weight_net.strong_slopes(net.params, a['values'], a['values'])


def _weights_of_net(a):
  net = meta_weight_net.init_weight_net(a['key'])
  return meta_weight_net.batch_weights(net.params, a['values'])


def _taught(a):
  return co_regularization.taught_value_and_grads(
      apply_fn, [a['params']] * 2, a['images'], [a['logits']] * 2, a['values'],
      a['where'], losses_fn=co_regularization.consistency_losses)


def _network(name, **options):
  def call(a):
    net = models.build(name, num_classes=NUM_CLASSES, options=options)
    return net.apply(net.init(a['key'], a['images']), a['images'])
  return call


def _refined(a):
  weights = jnp.abs(a['values'])
  return refinement.refine_labels(
      jax.nn.softmax(a['logits']),
      refinement.annotation_evidence(
          a['label'], num_classes=NUM_CLASSES, inside=weights, outside=weights,
          present=a['examples'].present),
      refinement.gated_trust(weights, threshold=0.5))


def _augment_volumes(a):
  as_volume = lambda x: x[:1].reshape(1, 2, 4, *x.shape[2:])
  examples = a['examples']._replace(
      image=as_volume(a['examples'].image), label=as_volume(a['label']))
  options = volume_augmentation.VolumeAugmentationOptions(
      blur=1.0, log2_low_resolution=1.0)
  return volume_augmentation.augment_volumes(
      a['keys'][:1], examples, options=options, spacing=(5.0, 1.0, 1.0))


def _of_labels(fn):
  return lambda a: fn(a['logits'], a['labels'], where=a['where'])


# Maps the name of a public function to a call of it. A second word in the key
# marks another way to call the function.
CALLS = {
    'alignment_maps.alignment_maps': lambda a: alignment_maps.alignment_maps(
        lambda x: losses.cross_entropy_loss(x, a['labels']), a['logits'],
        a['logits']),
    'augmentation.augment': lambda a: augment_fn(a['keys'], a['examples']),
    'augmentation.augment all': lambda a: augmentation.augment(
        a['keys'], a['examples']._replace(
            image=jnp.tile(a['examples'].image, (1, 1, 1, 3))),
        options=augmentation.AugmentationOptions(
            saturation=0.2, hue_deg=9.0, blur=1.0)),
    'augmentation.to_float': lambda a: augmentation.to_float(
        a['examples'].image),
    'co_regularization.consistency_losses': lambda a: (
        co_regularization.consistency_losses(
            a['logits'], a['logits'], pixel_weights=a['images'][..., 0])),
    'co_regularization.cross_pseudo_losses': lambda a: (
        co_regularization.cross_pseudo_losses(
            a['logits'], a['logits'], pixel_weights=a['images'][..., 0])),
    'co_regularization.taught_value_and_grads': _taught,
    'co_regularization.ramp_up': lambda a: co_regularization.ramp_up(
        a['step'], scale=0.5, ramp_up_steps=10),
    'co_regularization.ramp_up none': lambda a: co_regularization.ramp_up(
        a['step'], scale=0.5, ramp_up_steps=0),
    'co_regularization.update_teachers': lambda a: (
        co_regularization.update_teachers(
            a['params'], a['params'], step=a['step'], decay=0.9)),
    'deep_supervision.combined_losses': lambda a: (
        deep_supervision.combined_losses(
            lambda logits, labels, where, _: losses.cross_entropy_dice_loss(
                logits, labels, where=where),
            (a['logits'], a['logits'][:, ::2, ::2]), a['labels'], a['where'],
            a['images'])),
    'guards.all_finite': lambda a: guards.all_finite(a),
    'guards.all_finite none': lambda a: guards.all_finite(()),
    'microbatches.over_microbatches': lambda a: (
        microbatches.over_microbatches(
            lambda p, i: apply_fn(
                p, jax.lax.dynamic_slice_in_dim(a['images'], i, 1)), 2)(
                    a['params'])),
    'guards.gather_rows': lambda a: guards.gather_rows(a['values']),
    'guards.nonfinite_rows': lambda a: guards.nonfinite_rows(a['logits']),
    'guards.select': lambda a: guards.select(
        a['where'][0, 0, 0], a['params'], a['params']),
    'indicator_grads.indicator_value_and_grad': _indicator_value_and_grad,
    'indicator_step.make_indicator_step': _indicator_step,
    'indicators.init_indicators': _update_indicators,
    'indicators.update_indicators': _update_indicators,
    'indicators.gather_indicators': _update_indicators,
    'indicators.gather_rows': _indicator_rows,
    'indicators.put_rows': _indicator_rows,
    'indicators.of_instances': _indicators_of_classes,
    'indicators.indicator_health': _update_indicators,
    'inference.disagreement': lambda a: inference.disagreement(
        [jax.nn.softmax(a['logits'])] * 2),
    'inference.make_predict_step': lambda a: inference.make_predict_step(
        apply_fn, image_fn=augmentation.to_float, flips=((), (1,)))(
            [a['params']] * 2, a['examples'].image),
    'inference.mean_probabilities': lambda a: inference.mean_probabilities(
        apply_fn, [a['params']] * 2, a['images']),
    **{f'kind_losses.{name}': lambda a: _BY_KIND(
        a['logits'], a['labels'], where=a['where'], kind=a['examples'].kind,
        present=a['examples'].present, images=a['images'])
       for name in ('by_kind', 'of_images', 'of_labels', 'of_pixels',
                    'of_tags')},
    'linearization.linearize_losses': lambda a: _products(
        linearization.linearize_losses(_losses_fn(a), a['params']), a),
    'linearization.linearize_per_instance': _per_instance,
    **{f'losses.{fn.__name__}': _of_labels(fn) for fn in (
        losses.balanced_cross_entropy_loss, losses.cross_entropy_dice_loss,
        losses.cross_entropy_loss, losses.soft_dice_loss)},
    'losses.soft_dice_of_classes': _of_labels(losses.soft_dice_of_classes),
    **{f'class_losses.{fn.__name__}': _of_labels(fn) for fn in (
        class_losses.balanced_cross_entropy, class_losses.cross_entropy,
        class_losses.cross_entropy_dice, class_losses.soft_dice)},
    'losses.prior_free': _of_labels(losses.prior_free(losses.soft_dice_loss)),
    'losses.one_hot_labels': lambda a: losses.one_hot_labels(
        a['label'], NUM_CLASSES),
    'losses.without_class_prior': lambda a: losses.without_class_prior(
        a['logits'], where=a['where']),
    'masking.mean': lambda a: masking.mean(
        a['logits'][..., 0], a['where'], (1, 2)),
    'masking.probabilities': lambda a: masking.probabilities(
        a['logits'], a['where']),
    'masking.widen': lambda a: masking.widen(a['logits']),
    'masking.where_or_all': lambda a: masking.where_or_all(None, a['logits']),
    'meta_weight_net.batch_weights': _weights_of_net,
    'meta_weight_net.init_weight_net': _weights_of_net,
    'meta_weight_net.strong_slopes': _slopes_of_net,
    'meta_weight_net.weigh': _weigh_net,
    'metrics.confusion_counts': lambda a: metrics.confusion_counts(
        a['label'], a['label'], num_classes=NUM_CLASSES),
    'mixing.cutmix_masks': lambda a: mixing.cutmix_masks(a['keys'], (8, 8)),
    'mixing.mix_pairs': lambda a: mixing.mix_pairs(a['where'], a['images']),
    'mixing.no_masks': lambda a: mixing.no_masks(a['keys'], (8, 8)),
    'mixing.swap_pairs': lambda a: mixing.swap_pairs(a['values']),
    'models unet': _network('unet', features=(4, 8)),
    'models residual_unet': _network('residual_unet', features=(4, 8)),
    **{f'refinement.{name}': _refined for name in (
        'annotation_evidence', 'gated_trust', 'refine_labels')},
    'regularizers.entropy_loss': lambda a: regularizers.entropy_loss(
        a['logits'], where=a['where']),
    'regularizers.gated_crf_loss': lambda a: regularizers.gated_crf_loss(
        a['logits'], a['images'], where=a['where'], radius=1),
    'regularizers.mumford_shah_loss': lambda a: regularizers.mumford_shah_loss(
        a['logits'], a['images'], where=a['where']),
    'regularizers.total_variation_loss': lambda a: (
        regularizers.total_variation_loss(a['logits'], where=a['where'])),
    'train_state.init_state': lambda a: train_state.init_state(
        init_fn, optax.adam(1e-3), a['key'], num_weak=NUM_WEAK),
    'train_step.instance_keys': lambda a: train_step.instance_keys(
        a['key'], BATCH),
    'train_step.make_eval_step': lambda a: train_step.make_eval_step(
        apply_fn, num_classes=NUM_CLASSES, image_fn=augmentation.to_float)(
            [a['params']] * 2, a['examples']),
    'train_step.make_train_step': _step('uniform', teacher='mean'),
    **{f'train_step.make_train_step {name}': _step(name, trust='complement')
       for name in weight_rules.RULES if name != 'uniform'},
    **{f'weak_losses.{fn.__name__}': _of_labels(fn) for fn in (
        weak_losses.box_loss, weak_losses.outside_cross_entropy_loss,
        weak_losses.projection_loss, weak_losses.soft_edge_cross_entropy_loss,
        weak_losses.tightness_loss)},
    'volume_augmentation.augment_volumes': _augment_volumes,
    'weak_losses.tag_loss': lambda a: weak_losses.tag_loss(
        a['logits'], a['examples'].present, where=a['where']),
    'weighting.l2rw_weights': lambda a: weighting.l2rw_weights(a['values']),
    'weighting.last_layer_alignments': lambda a: (
        weighting.last_layer_alignments(
            lambda x: losses.cross_entropy_loss(x, a['labels']), a['logits'],
            a['images'], a['params']['head'])),
    'weighting.last_layer_slopes': lambda a: weighting.last_layer_slopes(
        a['images'], a['params']['head']),
    'weighting.linear_weight_grads': _linear_weight_grads,
    'weighting.lookahead_weight_grads': functools.partial(
        _lookahead, step_size=0.1),
    'weighting.lookahead_weight_grads grad': functools.partial(
        _lookahead, step_size=0.1, method='grad'),
    'weighting.lookahead_weight_grads adam': functools.partial(
        _lookahead, inner_optimizer=optax.adam(1e-3, eps_root=1e-8)),
    'weighting.lookahead_weight_grads multi': functools.partial(
        _lookahead, inner_optimizer=optax.MultiSteps(optax.sgd(0.1), 1)),
    'weighting.unit_rms': lambda a: weighting.unit_rms(a['values']),
    'weighting.without_common_harm': lambda a: weighting.without_common_harm(
        a['values']),
}
