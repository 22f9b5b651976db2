"""Unpacks a config into the pieces that the parts of a run need.

`unpack` reads the whole config once. All other modules take only the pieces
that they need, in the types of the library: names of losses, for example, are
replaced by the functions. Where the field of a piece has the name of a key,
`configs.common` explains its values.
"""

from collections.abc import Callable
import contextlib
import functools
import math
from typing import Any, NamedTuple

from hybridseg import augmentation as augmentation_lib
from hybridseg import class_losses
from hybridseg import kind_losses
from hybridseg import losses
from hybridseg import regularizers
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg import volume_augmentation
from hybridseg import weak_losses
from hybridseg import weight_rules
from hybridseg.models import encoder_unet
import jax.numpy as jnp
import ml_collections
import optax

from experiments import binary

EFFICIENTNET = 'efficientnet_unet'
_LOSSES = {
    'balanced_cross_entropy': losses.balanced_cross_entropy_loss,
    'cross_entropy': losses.cross_entropy_loss,
    'cross_entropy_dice': losses.cross_entropy_dice_loss,
    'soft_dice': losses.soft_dice_loss,
}
# The same losses, divided among the foreground classes.
_CLASS_LOSSES = {
    'balanced_cross_entropy': class_losses.balanced_cross_entropy,
    'cross_entropy': class_losses.cross_entropy,
    'cross_entropy_dice': class_losses.cross_entropy_dice,
    'soft_dice': class_losses.soft_dice,
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


class Data(NamedTuple):
  """The section `input`: which images a run reads, and how many at once.

  `refine` is `supervision.refine`, with which the corrected labels are in the
  folder of the run itself. `foreground_share` is None unless the set holds
  whole volumes.
  """

  data_dir: str
  strong_batch_size: int
  weak_batch_size: int
  eval_batch_size: int
  weak_labels: str
  corrected_labels: str
  num_workers: int
  refine: bool
  foreground_share: float | None = None


class Model(NamedTuple):
  """The section `model`: the network, and the weights from which it starts."""

  name: str
  weights: str = ''
  encoder_rate: float = 1.0
  cached_copies: tuple[int, ...] = ()
  options: dict[str, Any] = {}


class Augmentation(NamedTuple):
  """How the images of a training step are augmented.

  Attributes:
    options: the section `augmentation`.
    copies: how many views of each strong and of each weak image a run may use;
      () if each step draws new views.
    seed: seed of the views.
  """

  options: (augmentation_lib.AugmentationOptions
            | volume_augmentation.VolumeAugmentationOptions)
  copies: tuple[int, ...]
  seed: int


class Method(NamedTuple):
  """How the networks learn, in the types of the library.

  Attributes:
    augmentation: how images are augmented.
    supervision: the losses and their factors.
    weighting: how the weak instances are weighted.
    co_reg: how the two networks teach each other.
    optimizer: the optimizer of each network.
    alignment_loss_fn: loss of weak label maps; alignments are computed from its
      gradients.
    initial_indicator: the first indicator of every weak instance.
    initial_from: table of an audit that holds the first indicators, or ''.
    pin_kept: whether annotations that a review has kept have no indicator.
    loss_by_kind: the key of this name, if weak labels are learnt.
  """

  augmentation: Augmentation
  supervision: train_step_lib.Supervision
  weighting: train_step_lib.Weighting
  co_reg: train_step_lib.CoRegularization
  optimizer: optax.GradientTransformation
  alignment_loss_fn: Callable[..., Any]
  initial_indicator: float
  initial_from: str
  pin_kept: bool
  loss_by_kind: dict[str, Any]

  @property
  def uses_weak(self) -> bool:
    """Whether any term of the loss is computed on weak images."""
    return bool(self.supervision.weak_scale or self.co_reg.scale)


class Schedule(NamedTuple):
  """The keys outside all sections: seed, length, intervals, devices, start."""

  seed: int
  mapping: str
  train_steps: int
  log_every_steps: int
  eval_every_steps: int
  checkpoint_every_steps: int
  max_skipped_in_a_row: int
  warm_start: str


class Pieces(NamedTuple):
  """All pieces of a config."""

  data: Data
  model: Model
  method: Method
  schedule: Schedule


@contextlib.contextmanager
def in_one_line():
  """A context that turns errors of the library into messages of one line."""
  try:
    yield
  except (IndexError, OverflowError, TypeError, ValueError) as e:
    lines = str(e).strip().splitlines() or [type(e).__name__]
    raise binary.UserError(f'Config does not fit: {lines[0]}') from e


def unpack(config: ml_collections.ConfigDict) -> Pieces:
  """Divides the config of a run into pieces.

  Raises:
    binary.UserError: if a value does not fit the library.
  """
  names, weights = config.supervision, config.weighting
  with in_one_line():
    data = Data(**config.input, refine=names.refine)
    model = Model(**config.model.to_dict())
    schedule = Schedule(*(
        config[name] for name in Schedule._fields))
    rule = weight_rules.find(weights.name)
    optimizer = _make_optimizer(config.optimizer, model, schedule.train_steps)
    options = _make_augmentation(
        config.augmentation, weights, data, model)
    if schedule.warm_start and weights.initial_from:
      raise ValueError(
          'warm_start and weighting.initial_from both set the first '
          'indicators: give only one of them.')
    weighting = train_step_lib.Weighting(*(
        weights[name] for name in train_step_lib.Weighting._fields))
    co_reg = train_step_lib.CoRegularization(**config.co_regularization)
    scales = _scales(names, schedule.train_steps)
    if data.weak_labels == 'truth':
      _check_truth(names, scales, rule, co_reg)
      strong_loss = _named(names.strong_loss, _LOSSES)
      supervision = train_step_lib.Supervision(
          strong_loss, strong_loss, **scales)
    else:
      supervision = _make_supervision(
          names, scales, options.rotation_deg, weighting.per_class)
    method = Method(
        Augmentation(options, tuple(model.cached_copies), schedule.seed),
        supervision, weighting, co_reg, optimizer,
        _alignment_loss(names, _LOSSES),
        weights.initial_indicator, weights.initial_from, weights.pin_kept,
        {} if data.weak_labels == 'truth' else names.loss_by_kind.to_dict())
  return Pieces(data, model, method, schedule)


def _make_augmentation(options, weights, data, model):
  if data.foreground_share is None:
    return augmentation_lib.AugmentationOptions(**options)
  for name, value in (
      ('model.cached_copies', tuple(model.cached_copies)),
      ('input.corrected_labels', data.corrected_labels),
      ('supervision.refine', data.refine),
      ('weighting.pin_kept', weights.pin_kept),
      ("weighting.instances='all'", weights.instances == 'all')):
    if value:
      raise ValueError(f'{name} is not for whole volumes yet: leave it out.')
  return volume_augmentation.VolumeAugmentationOptions(**options)


def learning_rates(
    optimizer: ml_collections.ConfigDict, train_steps: int, share: float = 1.0
) -> optax.Schedule:
  """Returns the learning rate as a function of the step, multiplied by `share`.

  It rises linearly from 0 to its peak, then falls to 0 along a cosine.

  Args:
    optimizer: optimizer section of a config.
    train_steps: number of steps of the run.
    share: factor of the learning rate.
  """
  return optax.warmup_cosine_decay_schedule(
      0.0, share * optimizer.learning_rate, optimizer.warmup_steps, train_steps)


def _make_optimizer(optimizer, model, train_steps):
  adamw = lambda share: optax.adamw(
      learning_rates(optimizer, train_steps, share),
      weight_decay=optimizer.weight_decay)

  if model.name == EFFICIENTNET:
    update = optax.multi_transform(
        {'decoder': adamw(1.0), 'encoder': adamw(model.encoder_rate),
         'frozen': optax.set_to_zero()},
        functools.partial(
            encoder_unet.label_params,
            frozen_until=model.options.get('frozen_until', 0)))
  else:
    update = adamw(1.0)
  return optax.chain(optax.clip_by_global_norm(optimizer.clip_norm), update)


def _named(name, known):
  if name not in known:
    raise ValueError(f'Unknown loss {name!r}; known: {sorted(known)}.')
  return known[name]


def _make_supervision(names, scales, rotation_deg, per_class):
  known = _CLASS_LOSSES if per_class else _LOSSES
  weak_loss = _named(names.weak_loss, known)
  alignment_loss = _alignment_loss(names, known)
  by_kind = names.loss_by_kind.to_dict()
  if by_kind and per_class:
    raise ValueError(
        'weighting.per_class divides losses of label maps among classes, but '
        'not those of supervision.loss_by_kind: set only one of them.')
  if by_kind:
    weak_loss = _loss_by_kind(by_kind, names.weak_loss, rotation_deg)
    # If losses depend on the kind, this loss receives further arguments, too.
    of_labels = alignment_loss
    alignment_loss = lambda logits, labels, *, where, **unused_context: (
        of_labels(logits, labels, where=where))
  if names.alignment_loss == 'training':
    alignment_loss = None
  return train_step_lib.Supervision(
      strong_loss_fn=_named(names.strong_loss, _LOSSES),
      weak_loss_fn=weak_loss,
      alignment_loss_fn=alignment_loss,
      by_kind=bool(by_kind),
      weak_head=names.weak_head,
      **scales,
  )


def _check_truth(names, scales, rule, co_reg):
  if (rule.needs_alignments or co_reg.scale or names.weak_head or names.refine
      or any(callable(x) or not x for x in scales.values())):
    raise ValueError(
        "input.weak_labels 'truth' is for full supervision alone: use the "
        "variant full_supervision, or 'annotation'.")


def _scales(names, train_steps):
  """Returns the factors of the strong and the weak loss.

  With `supervision.weak_first_share`, they are functions of the step, because
  the weak labels are learnt first.
  """
  strong, weak = names.strong_scale, names.weak_scale
  share = names.weak_first_share
  if not share:
    return dict(strong_scale=strong, weak_scale=weak)
  if not 0 < share < 1 or not strong or not weak:
    raise ValueError(
        f'supervision.weak_first_share is {share}: use 0 to below 1, and '
        'neither strong_scale=0 nor weak_scale=0 beside it.')
  first = round(share * train_steps)
  if not 0 < first < train_steps:
    raise ValueError(
        f'supervision.weak_first_share is {share}, which is {first} of '
        f'{train_steps} train_steps: use another share, or more steps.')
  return dict(
      strong_scale=lambda step: jnp.where(step < first, 0.0, strong),
      weak_scale=lambda step: jnp.where(step < first, weak, 0.0))


def _alignment_loss(names, known):
  if names.alignment_loss == 'training':
    if names.alignment_without_class_prior:
      raise ValueError(
          "alignment_loss 'training' is the training loss as it is: set "
          'supervision.alignment_without_class_prior=False.')
    return _named(names.weak_loss, known)
  loss_fn = _named(names.alignment_loss, known)
  if names.alignment_without_class_prior:
    loss_fn = losses.prior_free(loss_fn)
  return loss_fn


def _loss_by_kind(by_kind, default, rotation_deg):
  table = {}
  for name, pairs in by_kind.items():
    if name.upper() not in types.AnnotationKind.__members__:
      known = [kind.name.lower() for kind in types.AnnotationKind]
      raise ValueError(
          f'supervision.loss_by_kind names {name!r}, no annotation kind; known:'
          f' {known}.')
    for factor, loss in pairs:
      if not (isinstance(factor, (int, float)) and 0 <= factor < math.inf):
        raise ValueError(
            f'supervision.loss_by_kind: the factor of {loss!r} for {name!r} is '
            f'{factor!r:.20}: use a number >= 0.')
      if loss in _UPRIGHT and rotation_deg:
        raise ValueError(
            f'Loss {loss!r} of kind {name!r} needs upright boxes: set '
            'augmentation.rotation_deg=0.')
    table[types.AnnotationKind[name.upper()]] = [
        (factor, _named(loss, _TERMS)) for factor, loss in pairs]
  return kind_losses.by_kind(table, default=[(1.0, _TERMS[default])])
