"""The parts of a training method, and a check that they fit together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hybridseg import indicators as indicators_lib
from hybridseg import mixing
from hybridseg import weighting as weighting_lib

# Maps (logits [B, ..., K], one-hot labels [B, ..., K], where=bool [B, ...]) to
# losses [B]. A loss by kind also takes kind=int [B], present=uint8 [B, K] and
# images=float [B, ..., C].
LossFn = Callable[..., jax.Array]

# Keys of params: the last layer of every network in `models`, and the separate
# last layer for weak labels, if there is one.
HEAD, WEAK_HEAD = 'head', 'weak_head'
METHODS = (*weighting_lib.METHODS, 'per_instance')
TRUSTS = {
    'indicator': lambda w: w,
    # The weights of L2RW may exceed 1.
    'complement': lambda w: jnp.maximum(1 - w, 0),
    'one': jnp.ones_like,
}
INSTANCES = ('batch', 'all')
TEACHERS = ('other', 'self', 'mean')
MIXINGS = {'cutmix': mixing.cutmix_masks, 'none': mixing.no_masks}


class Supervision(NamedTuple):
  """The losses of strong and weak annotations, and their factors.

  Attributes:
    strong_loss_fn: loss of the exact masks; its gradient also moves the
      indicators.
    weak_loss_fn: loss of the weak label maps.
    alignment_loss_fn: loss of the weak label maps that is used to compute the
      alignments; None stands for `weak_loss_fn`, as in Algorithm 1. See
      `losses.without_class_prior` for a reason to use another loss.
    weak_scale: factor of the weak term; 0 trains without weak labels. This and
      `strong_scale` may be schedules that map the step, int32 [], to the
      factor.
    by_kind: whether the two losses of weak labels also take the annotation
      kinds, image tags and images, as a loss of `kind_losses.by_kind` does.
    strong_scale: factor of the strong term; with 0 the exact masks still move
      the indicators, but no network learns from them.
    weak_head: whether weak labels have a last layer of their own,
      params[`WEAK_HEAD`]. All layers before it are shared with the last layer
      that learns the exact masks and makes the predictions. Luo and Yang,
      "Semi-supervised Semantic Segmentation via Strong-weak Dual-branch
      Network", ECCV 2020; in the paper, each branch has more than one layer.
  """

  strong_loss_fn: LossFn
  weak_loss_fn: LossFn
  alignment_loss_fn: LossFn | None = None
  weak_scale: float | optax.Schedule = 1.0
  by_kind: bool = False
  strong_scale: float | optax.Schedule = 1.0
  weak_head: bool = False


class Weighting(NamedTuple):
  """How the weak instances are weighted.

  Attributes:
    name: one of `weight_rules.RULES`.
    learning_rate: learning rate of the indicators, for alignments scaled to a
      root mean square of 1 over the batch; with 'meta_weight_net', the learning
      rate of Adam.
    every_steps: the indicators move at steps divisible by this number (tau of
      Algorithm 1).
    start_step: first step at which the indicators move.
    instances: which indicators the training step moves, one of `INSTANCES`:
      with 'batch', those of its batch; with 'all', none, since `indicator_step`
      is then called with all weak instances instead.
    method: how alignments over all layers are computed, one of `METHODS`.
      'forward' is the closed form, in one tangent pass. 'per_instance' uses the
      gradient of every instance; it is the cheapest, but requires that the
      alignment loss is the training loss. 'grad' is the slowest, and serves to
      check the others.
    without_common_harm: whether a negative mean is subtracted from the
      alignments of a batch, see `weighting.without_common_harm`.
    per_class: whether each instance has one indicator per foreground class. The
      losses of weak labels must then be [B, K - 1], see `class_losses`. All
      means and scales of alignments are over instances and classes, and the
      trust in a pseudo label is a function of the mean over the classes.
  """

  name: str = 'uniform'
  learning_rate: float = 0.05
  every_steps: int = 1
  start_step: int = 0
  instances: str = 'batch'
  method: str = 'forward'
  without_common_harm: bool = False
  per_class: bool = False


class WeakBatch(NamedTuple):
  """The B weak instances of a batch, as a weighting rule sees them.

  Attributes:
    step: number of updates done before this one, int32 [].
    instance_ids: rows of the indicator table, int32 [B].
    losses: training losses, averaged over the two networks, float [B]; this and
      the alignments are [B, K - 1] with `Weighting.per_class`.
    mean_alignments: function without arguments that returns the alignments,
      float [B], and which of them are not finite, bool [B]. Alignments are
      computed only if the rule calls this function.
    is_unlabelled: which instances have no annotation, bool [B] or False.
  """

  step: jax.Array
  instance_ids: jax.Array
  losses: jax.Array
  mean_alignments: Callable[[], tuple[jax.Array, jax.Array]]
  is_unlabelled: Any = False


class RuleState(NamedTuple):
  """The state that a weighting rule carries from step to step.

  Attributes:
    indicators: indicators of all weak instances of the set.
    own: further state of the rule, any pytree of arrays; None for a rule
      without `WeightingRule.init`.
  """

  indicators: indicators_lib.IndicatorState
  own: Any = None


class Weighed(NamedTuple):
  """The result of a weighting rule for a batch.

  Attributes:
    weights: weights of the weak instances, float [B].
    state: state of the rule after its update.
    is_bad: which alignments are not finite, bool [B]; None if the rule uses no
      alignments.
  """

  weights: jax.Array
  state: RuleState
  is_bad: jax.Array | None = None


class WeightingRule(NamedTuple):
  """A way to weight weak instances, and what the training step must provide.

  Attributes:
    weigh: maps a `Weighting`, a `RuleState`, a `WeakBatch` and the keyword
      argument `axis_name` to `Weighed`.
    init: maps a key and the number of weak instances to the initial
      `RuleState.own`; None for a rule without further state.
    needs_alignments: whether the rule calls `WeakBatch.mean_alignments`.
    needs_features: whether its alignments are those of the last layer alone,
      which are computed from the features that enter this layer.
    is_persistent: whether its weights are the indicators of the `RuleState`.
  """

  weigh: Callable[..., Weighed]
  init: Callable[[jax.Array, int], Any] | None = None
  needs_alignments: bool = True
  needs_features: bool = False
  is_persistent: bool = False


class CoRegularization(NamedTuple):
  """How the two networks are taught on weak images, and by which teacher.

  Attributes:
    scale: final factor of the co-regularization loss; 0 switches it off.
    ramp_up_steps: number of steps in which the factor rises to `scale`.
    trust: factor of the pseudo label of a weak image, one of `TRUSTS`:
      'indicator' is the weight w_k of its annotation; 'complement' is 1 - w_k,
      so that the pseudo label counts more if the weak label counts less; 'one'
      is 1.
    mixing: how the images of the students are mixed, one of `MIXINGS`: 'cutmix'
      pastes a rectangle of each image's neighbour, 'none' leaves the images
      unchanged.
    teacher: one of `TEACHERS`: 'other' uses the hard pseudo labels of the other
      network, 'self' the network's own hard pseudo labels of the plain image,
      and 'mean' the probabilities of the network's own moving average.
    decay: decay of the moving average, see
      `co_regularization.update_teachers`.
  """

  scale: float = 0.0
  ramp_up_steps: int = 0
  trust: str = 'indicator'
  mixing: str = 'cutmix'
  teacher: str = 'other'
  decay: float = 0.99


def one_weak_loss(supervision: Supervision) -> bool:
  """Returns whether alignments are computed from the training loss."""
  return supervision.alignment_loss_fn in (None, supervision.weak_loss_fn)


def scale_at(scale: float | optax.Schedule, step: jax.Array):
  """Returns the factor of a term at a step, float or float []."""
  return scale(step) if callable(scale) else scale


def has_mean_teachers(co_reg: CoRegularization) -> bool:
  """Returns whether the state must hold moving averages of the networks."""
  return bool(co_reg.scale) and co_reg.teacher == 'mean'


def check(
    supervision: Supervision,
    weighting: Weighting,
    co_reg: CoRegularization,
    *,
    rule: WeightingRule,
    has_features: bool,
    has_coarser: bool = False,
) -> None:
  """Refuses parts of a method that do not fit together.

  Args:
    supervision: the losses.
    weighting: how the weak instances are weighted.
    co_reg: how the networks teach each other.
    rule: the rule that `weighting` names.
    has_features: whether there is a `features_fn` for the last layer.
    has_coarser: whether the networks have coarser outputs that learn, too.

  Raises:
    ValueError: if a part has an unknown name, if nothing is learnt, if the rule
      lacks features, weak labels or a method that it needs, or if a weak head,
      deep supervision or indicators per class are combined with parts that they
      do not support.
  """
  for what, name, known in (
      ('trust', co_reg.trust, sorted(TRUSTS)),
      ('mixing', co_reg.mixing, sorted(MIXINGS)),
      ('teacher', co_reg.teacher, TEACHERS),
      ('method', weighting.method, METHODS),
      ('instances', weighting.instances, INSTANCES),
  ):
    if name not in known:
      raise ValueError(f'Unknown {what} {name!r}; known: {known}.')
  if weighting.method == 'per_instance' and not one_weak_loss(supervision):
    raise ValueError(
        "Method 'per_instance' needs the training loss as alignment loss: use "
        "'forward', or alignment_loss_fn=None."
    )
  if rule.needs_features and not has_features:
    raise ValueError(f'Weighting {weighting.name!r} needs a features_fn.')
  if rule.needs_features and weighting.method != 'forward':
    raise ValueError(
        f"{weighting.name!r} has a closed form only: use 'forward'.")
  if rule.needs_alignments and not supervision.weak_scale:
    raise ValueError(
        f'Weighting {weighting.name!r} needs weak labels: weak_scale is 0.'
    )
  if not supervision.strong_scale and not supervision.weak_scale:
    raise ValueError(
        'Nothing to learn: strong_scale and weak_scale are both 0.'
    )
  if has_coarser and (
      supervision.weak_head
      or rule.needs_alignments and not rule.needs_features):
    raise ValueError(
        'Deep supervision leaves the indicators to the finest output: use '
        "weighting 'dii_last_layer' or 'uniform', and no weak_head.")
  if weighting.per_class:
    _check_per_class(supervision, weighting, rule)
  if supervision.weak_head:
    _check_weak_head(supervision, co_reg, rule, has_features)


def _check_per_class(supervision, weighting, rule):
  if not rule.is_persistent:
    raise ValueError(
        f'Weighting {weighting.name!r} has no indicators: use per_class=False.')
  if weighting.method == 'per_instance':
    raise ValueError(
        "per_class needs the losses of each class: use method 'forward'.")
  if supervision.by_kind:
    raise ValueError(
        'Losses by kind are not divided among classes: use per_class=False.')


def _check_weak_head(supervision, co_reg, rule, has_features):
  if not has_features:
    raise ValueError('A weak_head needs a features_fn.')
  if rule.needs_alignments or co_reg.scale or not supervision.strong_scale:
    raise ValueError(
        "A weak_head keeps weak labels from the head that predicts: use "
        "weighting 'uniform', co-regularization of scale 0, and a strong_scale."
    )
