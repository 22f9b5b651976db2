"""Builds the networks and the training functions of a run.

The config names losses, networks and weight rules. This module replaces these
names with functions of the library, adapted to the classes and the image shape
of the set.
"""

from collections.abc import Callable
import contextlib
import functools
from typing import Any, NamedTuple

from hybridseg import augmentation
from hybridseg import indicator_step
from hybridseg import kind_losses
from hybridseg import losses
from hybridseg import models
from hybridseg import parallel
from hybridseg import regularizers
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import weak_losses
from hybridseg import weight_rules
from hybridseg.models import encoder_unet
import jax
import jax.numpy as jnp
import ml_collections
import optax

from experiments import binary
from experiments.building import config_checks
from experiments.building import feature_cache
from experiments.building import input_pipeline
from experiments.building import pretrained
from experiments.building import retraining

_LOSSES = {
    'balanced_cross_entropy': losses.balanced_cross_entropy_loss,
    'cross_entropy': losses.cross_entropy_loss,
    'cross_entropy_dice': losses.cross_entropy_dice_loss,
    'soft_dice': losses.soft_dice_loss,
}
# The losses of weak labels that `supervision.loss_by_kind` may name.
_TERMS = {
    name: kind_losses.of_labels(loss_fn) for name, loss_fn in _LOSSES.items()
} | {
    'box': kind_losses.of_labels(weak_losses.box_loss),
    'entropy': kind_losses.of_pixels(regularizers.entropy_loss),
    'gated_crf': kind_losses.of_images(regularizers.gated_crf_loss),
    'mumford_shah': kind_losses.of_images(regularizers.mumford_shah_loss),
    'outside': kind_losses.of_labels(weak_losses.outside_cross_entropy_loss),
    'projection': kind_losses.of_labels(weak_losses.projection_loss),
    'soft_edge': kind_losses.of_labels(
        weak_losses.soft_edge_cross_entropy_loss),
    'tag': kind_losses.of_tags(weak_losses.tag_loss),
    'tightness': kind_losses.of_labels(weak_losses.tightness_loss),
    'total_variation': kind_losses.of_pixels(regularizers.total_variation_loss),
}
_UPRIGHT = ('box', 'projection', 'tightness')


class Network(NamedTuple):
  """The networks of a run, for any number of devices.

  Attributes:
    apply_fn: function (params, images) -> logits, for either network; with
      return_features=True, it also returns the features before the last layer.
    init_fn: function without arguments that returns the state before the first
      update, not yet placed on the devices. All parameters are random; for
      ImageNet weights see `pretrained.start_from`.
    mapping: how functions are mapped over the devices.
    strong_loss_fn: loss of exact masks.
    alignment_loss_fn: loss of weak label maps; alignments are computed from its
      gradients.
    encode_fn: function (params, images) -> the output of the network's frozen
      part, a `types.Encoded`; None if no part is frozen.
  """

  apply_fn: Callable[..., Any]
  init_fn: Callable[[], train_step_lib.TrainState]
  mapping: parallel.Mapping
  strong_loss_fn: train_step_lib.LossFn
  alignment_loss_fn: train_step_lib.LossFn
  encode_fn: Callable[..., types.Encoded] | None = None


class Training(NamedTuple):
  """The networks of a run, and the functions that train and evaluate them.

  All functions are mapped over the devices.

  Attributes:
    step_fn: the training step.
    indicator_fn: a step that moves indicators and nothing else; None if the
      training step moves them.
    eval_fn: the evaluation step.
    network: the networks.
  """

  step_fn: Callable[..., Any]
  indicator_fn: Callable[..., Any] | None
  eval_fn: Callable[..., Any]
  network: Network


class _Choices(NamedTuple):
  """The sections of a config, converted to the types of the library."""

  optimizer: optax.GradientTransformation
  supervision: train_step_lib.Supervision
  weighting: train_step_lib.Weighting
  co_reg: train_step_lib.CoRegularization


@contextlib.contextmanager
def _one_line():
  try:
    yield
  except (IndexError, OverflowError, TypeError, ValueError) as e:
    lines = str(e).strip().splitlines() or [type(e).__name__]
    raise binary.UserError(f'Config does not fit: {lines[0]}') from e


def build_network(
    config: ml_collections.ConfigDict, dataset: input_pipeline.Dataset
) -> Network:
  """Builds the networks of a run, for example to predict with them.

  The batch sizes of the config are not used and need not fit the devices.

  Raises:
    binary.UserError: if a value of the config does not fit the library or the
      set.
  """
  config_checks.check_jax()
  with _one_line():
    return _build_network(config, dataset, _choose(config))


def build_training(
    config: ml_collections.ConfigDict, dataset: input_pipeline.Dataset
) -> Training:
  """Builds the networks of a run and the functions that train them.

  Raises:
    binary.UserError: if a value of the config does not fit the library, the set
      or the devices.
  """
  num_classes = len(dataset.classes)
  config_checks.check_jax()
  config_checks.check_numbers(config)
  with _one_line():
    config_checks.check_batches(config, parallel.make_mapping(config.mapping))
    choices = _choose(config)
    network = _build_network(config, dataset, choices)
    shared = dict(
        num_classes=num_classes,
        features_fn=functools.partial(network.apply_fn, return_features=True),
        supervision=choices.supervision,
        weighting=choices.weighting,
        axis_name=network.mapping.axis_name,
    )
    step_fn = train_step_lib.make_train_step(
        network.apply_fn,
        choices.optimizer,
        augment_fn=feature_cache.augment_fn(config),
        co_reg=choices.co_reg,
        encode_fn=network.encode_fn,
        **shared,
    )
    indicator_fn = None
    if choices.weighting.instances == 'all':
      indicator_fn = network.mapping.step(
          indicator_step.make_indicator_step(network.apply_fn, **shared))
  eval_fn = train_step_lib.make_eval_step(
      network.apply_fn, num_classes=num_classes, image_fn=augmentation.to_float)
  return Training(
      network.mapping.step(step_fn), indicator_fn,
      network.mapping.eval(eval_fn), network)


def _choose(config):
  pretrained.check(config.model)
  retraining.check(config.weighting)
  weight_rules.find(config.weighting.name)
  return _Choices(
      _build_optimizer(config),
      _build_supervision(config),
      train_step_lib.Weighting(
          **_without(config.weighting, 'initial_indicator', 'initial_from')),
      train_step_lib.CoRegularization(**config.co_regularization))


def _build_network(config, dataset, choices):
  mapping = parallel.make_mapping(config.mapping)
  model = models.build(
      config.model.name, num_classes=len(dataset.classes),
      options=config.model.options.to_dict())
  # Tracing the initialization finds options that do not fit, without allocating
  # the parameters.
  init_model = lambda key: model.init(
      key, jnp.zeros((1, *dataset.image_shape)))['params']
  jax.eval_shape(init_model, jax.random.key(0))

  def init_fn():
    return train_step_lib.init_state(
        init_model,
        choices.optimizer,
        jax.random.key(config.seed),
        num_weak=len(dataset.splits['train_weak']),
        indicator_value=config.weighting.initial_indicator,
        weak_head=choices.supervision.weak_head,
        weighting=choices.weighting,
        co_reg=choices.co_reg,
    )

  apply_fn = lambda params, images, **options: model.apply(
      {'params': params}, images, **options)
  encode_fn = None
  if config.model.options.get('frozen_until', 0):
    encode_fn = functools.partial(apply_fn, frozen_only=True)
  return Network(
      apply_fn=apply_fn,
      init_fn=jax.jit(init_fn),
      mapping=mapping,
      strong_loss_fn=choices.supervision.strong_loss_fn,
      alignment_loss_fn=_build_alignment_loss(config.supervision),
      encode_fn=encode_fn)


def _without(config, *names):
  return {k: v for k, v in config.items() if k not in names}


def learning_rates(
    config: ml_collections.ConfigDict, share: float = 1.0
) -> optax.Schedule:
  """Returns the learning rate as a function of the step, multiplied by `share`.

  It rises linearly from 0 to its peak, then falls to 0 along a cosine.
  """
  return optax.warmup_cosine_decay_schedule(
      0.0, share * config.optimizer.learning_rate,
      config.optimizer.warmup_steps, config.train_steps)


def _build_optimizer(config):
  adamw = lambda share: optax.adamw(
      learning_rates(config, share),
      weight_decay=config.optimizer.weight_decay)

  if config.model.name == pretrained.EFFICIENTNET:
    update = optax.multi_transform(
        {'decoder': adamw(1.0), 'encoder': adamw(config.model.encoder_rate),
         'frozen': optax.set_to_zero()},
        functools.partial(
            encoder_unet.label_params,
            frozen_until=config.model.options.frozen_until))
  else:
    update = adamw(1.0)
  return optax.chain(
      optax.clip_by_global_norm(config.optimizer.clip_norm), update)


def _named(name, known):
  if name not in known:
    raise ValueError(f'Unknown loss {name!r}; known: {sorted(known)}.')
  return known[name]


def _check_truth(config):
  rule = weight_rules.find(config.weighting.name)
  if (rule.needs_alignments or config.co_regularization.scale
      or config.supervision.weak_head or config.supervision.refine
      or any(callable(x) or not x for x in _scales(config).values())):
    raise ValueError(
        "input.weak_labels 'truth' is for full supervision alone: use the "
        "variant full_supervision, or 'annotation'.")


def _build_supervision(config):
  names = config.supervision
  if config.input.weak_labels == 'truth':
    _check_truth(config)
    strong_loss = _named(names.strong_loss, _LOSSES)
    return train_step_lib.Supervision(
        strong_loss, strong_loss, **_scales(config))
  weak_loss = _named(names.weak_loss, _LOSSES)
  alignment_loss = _build_alignment_loss(names)
  by_kind = names.loss_by_kind.to_dict()
  if by_kind:
    weak_loss = _loss_by_kind(by_kind, names.weak_loss, config.augmentation)
    alignment_loss = _of_any_kind(alignment_loss)
  if names.alignment_loss == 'training':
    alignment_loss = None
  return train_step_lib.Supervision(
      strong_loss_fn=_named(names.strong_loss, _LOSSES),
      weak_loss_fn=weak_loss,
      alignment_loss_fn=alignment_loss,
      by_kind=bool(by_kind),
      weak_head=names.weak_head,
      **_scales(config),
  )


def _scales(config):
  """Returns the factors of the strong and the weak loss.

  With `supervision.weak_first_share`, they are functions of the step, because
  the weak labels are learnt first.
  """
  names = config.supervision
  strong, weak = names.strong_scale, names.weak_scale
  share = names.weak_first_share
  if not share:
    return dict(strong_scale=strong, weak_scale=weak)
  if not 0 < share < 1 or not strong or not weak:
    raise ValueError(
        f'supervision.weak_first_share is {share}: use 0 to below 1, and '
        'neither strong_scale=0 nor weak_scale=0 beside it.')
  first = round(share * config.train_steps)
  if not 0 < first < config.train_steps:
    raise ValueError(
        f'supervision.weak_first_share is {share}, which is {first} of '
        f'{config.train_steps} train_steps: use another share, or more steps.')
  return dict(
      strong_scale=lambda step: jnp.where(step < first, 0.0, strong),
      weak_scale=lambda step: jnp.where(step < first, weak, 0.0))


def _build_alignment_loss(names):
  if names.alignment_loss == 'training':
    if names.alignment_without_class_prior:
      raise ValueError(
          "alignment_loss 'training' is the training loss as it is: set "
          'supervision.alignment_without_class_prior=False.')
    return _named(names.weak_loss, _LOSSES)
  loss_fn = _named(names.alignment_loss, _LOSSES)
  if names.alignment_without_class_prior:
    loss_fn = losses.prior_free(loss_fn)
  return loss_fn


def _loss_by_kind(by_kind, default, augmentation_options):
  table = {}
  for name, pairs in by_kind.items():
    if name.upper() not in types.AnnotationKind.__members__:
      known = [kind.name.lower() for kind in types.AnnotationKind]
      raise ValueError(
          f'supervision.loss_by_kind names {name!r}, no annotation kind; known:'
          f' {known}.')
    for _, loss in pairs:
      if loss in _UPRIGHT and augmentation_options.rotation_deg:
        raise ValueError(
            f'Loss {loss!r} of kind {name!r} needs upright boxes: set '
            'augmentation.rotation_deg=0.')
    table[types.AnnotationKind[name.upper()]] = [
        (factor, _named(loss, _TERMS)) for factor, loss in pairs]
  return kind_losses.by_kind(table, default=[(1.0, _TERMS[default])])


def _of_any_kind(loss_fn):
  """Wraps a loss of label maps so that it can be called like a loss by kind.

  The wrapped loss ignores the kinds of the annotations.

  Args:
    loss_fn: loss of label maps.
  """

  def loss(logits, labels, *, where, **unused_context):
    return loss_fn(logits, labels, where=where)

  return loss
