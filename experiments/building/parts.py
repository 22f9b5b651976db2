"""Builds the networks and the training functions of a run."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

from hybridseg import augmentation
from hybridseg import indicator_step
from hybridseg import models
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import volume_augmentation
import jax
import jax.numpy as jnp

from experiments.building import config_checks
from experiments.building import feature_cache
from experiments.building import flat_draws
from experiments.building import input_pipeline
from experiments.building import kept_annotations
from experiments.building import pieces
from experiments.building import pretrained
from experiments.building import retraining
from experiments.building import volume_losses
from experiments.building import volume_set


class Network(NamedTuple):
  """The networks of a run, for any number of devices.

  Attributes:
    apply_fn: maps params and images to logits, for either network; with
      return_features=True, it also returns the features before the last layer.
    init_fn: function without arguments that returns the state before the first
      update, not yet placed on the devices. All parameters are random; for
      ImageNet weights see `pretrained.start_from`.
    mapping: how functions are mapped over the devices.
    encode_fn: maps params and images to the output of the network's frozen
      part, a `types.Encoded`; None if no part is frozen.
  """

  apply_fn: Callable[..., Any]
  init_fn: Callable[[], train_step_lib.TrainState]
  mapping: parallel.Mapping
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
    notices: what the user should know of the weak labels, a line each.
  """

  step_fn: Callable[..., Any]
  indicator_fn: Callable[..., Any] | None
  eval_fn: Callable[..., Any]
  network: Network
  notices: tuple[str, ...] = ()


def build_network(
    dataset: input_pipeline.Dataset,
    model: pieces.Model,
    method: pieces.Method,
    schedule: pieces.Schedule,
) -> Network:
  """Builds the networks of a run, for example to predict with them.

  Raises:
    binary.UserError: if a value of the config does not fit the library or the
      set.
  """
  config_checks.check_jax()
  with pieces.in_one_line():
    pretrained.check(model)
    retraining.check(method.weighting.name, method.initial_from)
    kept_annotations.check(method.weighting.name, method.pin_kept)
    mapping = parallel.make_mapping(schedule.mapping)
    options = model.options
    if dataset.plan is not None:
      options = volume_set.network_options(model, dataset.plan)
    network = models.build(
        model.name, num_classes=len(dataset.classes), options=options)
    # Tracing the initialization finds options that do not fit, without
    # allocating the parameters.
    init_model = lambda key: network.init(
        flat_draws.flat_key(key),
        jnp.zeros((1, *dataset.image_shape)))['params']
    jax.eval_shape(init_model, jax.random.key(0))

  def init_fn():
    return train_step_lib.init_state(
        init_model, method.optimizer, jax.random.key(schedule.seed),
        num_weak=len(dataset.splits['train_weak']),
        num_classes=len(dataset.classes),
        indicator_value=method.initial_indicator,
        weak_head=method.supervision.weak_head,
        weighting=method.weighting, co_reg=method.co_reg)

  apply_fn = lambda params, images, **options: network.apply(
      {'params': params}, images, **options)
  encode_fn = None
  if model.options.get('frozen_until', 0):
    encode_fn = functools.partial(apply_fn, frozen_only=True)
  return Network(
      apply_fn=apply_fn,
      init_fn=jax.jit(init_fn),
      mapping=mapping,
      encode_fn=encode_fn)


def build_training(
    dataset: input_pipeline.Dataset,
    model: pieces.Model,
    method: pieces.Method,
    schedule: pieces.Schedule,
) -> Training:
  """Builds the networks of a run and the functions that train them.

  Raises:
    binary.UserError: if a value of the config does not fit the library or the
      set.
  """
  network = build_network(dataset, model, method, schedule)
  num_classes = len(dataset.classes)
  shared = dict(
      num_classes=num_classes,
      features_fn=functools.partial(network.apply_fn, return_features=True),
      supervision=method.supervision,
      weighting=method.weighting,
      axis_name=network.mapping.axis_name,
  )
  with pieces.in_one_line():
    feature_cache.check(model)
    notices = []
    if dataset.plan is not None:
      notices = volume_losses.check(method.loss_by_kind, dataset)
    step_fn = train_step_lib.make_train_step(
        network.apply_fn,
        method.optimizer,
        augment_fn=_augment_fn(method.augmentation, dataset.plan),
        co_reg=method.co_reg,
        encode_fn=network.encode_fn,
        coarser_fn=functools.partial(network.apply_fn, return_coarser=True)
        if model.options.get('deep_supervision') else None,
        **shared,
    )
    indicator_fn = None
    if method.weighting.instances == 'all':
      indicator_fn = network.mapping.step(
          indicator_step.make_indicator_step(network.apply_fn, **shared))
  eval_fn = train_step_lib.make_eval_step(
      network.apply_fn, num_classes=num_classes, image_fn=augmentation.to_float)
  return Training(
      network.mapping.step(step_fn), indicator_fn,
      network.mapping.eval(eval_fn), network,
      tuple(notices) if method.supervision.weak_scale else ())


def _augment_fn(augmenting, plan):
  if plan is None:
    return feature_cache.augment_fn(augmenting)
  return functools.partial(
      volume_augmentation.augment_volumes, options=augmenting.options,
      spacing=plan.spacing_mm)
