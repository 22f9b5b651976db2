"""The parts that a method is a choice of: plain values, checked together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from hybridseg import indicators as indicators_lib
from hybridseg import mixing
from hybridseg import weighting as weighting_lib

# (logits [B, ..., K], one-hot labels [B, ..., K], where=bool [B, ...]) -> [B];
# by kind, also kind=int [B], present=uint8 [B, K], images=float [B, ..., C].
LossFn = Callable[..., jax.Array]

# Names in params: the last layer of every network of `models`, and the one that
# learns weak labels where they have their own.
HEAD, WEAK_HEAD = 'head', 'weak_head'
METHODS = (*weighting_lib.METHODS, 'per_instance')
TRUSTS = {
    'indicator': lambda w: w,
    'complement': lambda w: jnp.maximum(1 - w, 0),  # L2RW exceeds 1.
    'one': jnp.ones_like,
}
INSTANCES = ('batch', 'all')
TEACHERS = ('other', 'self', 'mean')
MIXINGS = {'cutmix': mixing.cutmix_masks, 'none': mixing.no_masks}


class Supervision(NamedTuple):
  """Which loss each annotation is used with, and how much it counts.

  Attributes:
    strong_loss_fn: loss of the exact masks; its gradient steers the indicators.
    weak_loss_fn: loss of the weak label maps.
    alignment_loss_fn: loss of the weak label maps *as the lookahead sees them*;
      a choice of its own, see `losses.without_class_prior`; None is
      `weak_loss_fn`, as in Algorithm 1.
    weak_scale: factor of the weak term; 0 trains without weak labels. This and
      `strong_scale` may be schedules: step, int32 [] -> factor.
    by_kind: whether the two losses of weak labels ask for more than the label
      map: see `kind_losses.by_kind`.
    strong_scale: factor of the strong term; at 0 the exact masks still steer
      the indicators, but no network learns from them.
    weak_head: whether weak labels are learnt by a last layer of their own,
      params[`WEAK_HEAD`], that shares all other layers with the one that learns
      the exact masks and predicts. Luo and Yang, "Semi-supervised Semantic
      Segmentation via Strong-weak Dual-branch Network", ECCV 2020; there, each
      branch is more than one layer.
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
    learning_rate: of the indicators, per unit of alignment scaled to a root
      mean square of 1 over the batch; with 'meta_weight_net', of Adam.
    every_steps: the indicators move at steps divisible by this (tau of
      Algorithm 1).
    start_step: first step at which they move.
    instances: which move, one of `INSTANCES`: 'batch' is those of the batch, in
      the training step; with 'all' the training step moves none, and
      `indicator_step` is called with every weak instance instead.
    method: how exact alignments over all layers are computed, one of `METHODS`:
      'forward' is the closed form by one tangent pass; 'per_instance' by the
      gradient of every instance, the cheapest, but only where the alignment's
      loss is the training loss; 'grad' is the reference, slowest.
    without_common_harm: whether indicators ignore what all instances have in
      common where that is harm, see `weighting.without_common_harm`.
  """

  name: str = 'uniform'
  learning_rate: float = 0.05
  every_steps: int = 1
  start_step: int = 0
  instances: str = 'batch'
  method: str = 'forward'
  without_common_harm: bool = False


class WeakBatch(NamedTuple):
  """What a weighting rule may ask of the B weak instances of a batch.

  Attributes:
    step: number of updates done before this one, int32 [].
    instance_ids: rows of the indicators, int32 [B].
    losses: training losses, means of the two networks, float [B].
    mean_alignments: returns the alignments, float [B], and which of them are
      not finite, bool [B]. It takes no argument, and what it computes costs
      time only where a rule calls it.
    is_unlabelled: which instances have no annotation, bool [B] or False.
  """

  step: jax.Array
  instance_ids: jax.Array
  losses: jax.Array
  mean_alignments: Callable[[], tuple[jax.Array, jax.Array]]
  is_unlabelled: Any = False


class RuleState(NamedTuple):
  """What weighting rules carry from step to step.

  Attributes:
    indicators: one persistent weight per weak instance of the set.
    own: whatever else the rule needs, any pytree of arrays; None for a rule
      without `WeightingRule.init`.
  """

  indicators: indicators_lib.IndicatorState
  own: Any = None


class Weighed(NamedTuple):
  """What a weighting rule makes of a batch.

  Attributes:
    weights: of the weak instances, float [B].
    state: after the rule has moved it.
    is_bad: which alignments are not finite, bool [B]; None from a rule that
      looks at none.
  """

  weights: jax.Array
  state: RuleState
  is_bad: jax.Array | None = None


class WeightingRule(NamedTuple):
  """One way to weigh weak instances, and what it must be given.

  Attributes:
    weigh: (weighting, state, batch, axis_name=) -> `Weighed`, of a `Weighting`,
      a `RuleState` and a `WeakBatch`.
    init: maps a key to the first state of its own; None for a rule without.
    needs_alignments: whether it calls `WeakBatch.mean_alignments`.
    needs_features: whether its alignments are those of the last layer alone,
      which are computed from that layer's features.
    is_persistent: whether its weights are the indicators of the `RuleState`.
  """

  weigh: Callable[..., Weighed]
  init: Callable[[jax.Array], Any] | None = None
  needs_alignments: bool = True
  needs_features: bool = False
  is_persistent: bool = False


class CoRegularization(NamedTuple):
  """How strongly the two networks are taught on weak images, and by whom.

  Attributes:
    scale: final factor of what is taught; 0 switches it off.
    ramp_up_steps: length of the ramp to `scale`.
    trust: weight of what is taught about a weak image, one of `TRUSTS`:
      'indicator' is w_k; 'complement' is 1 - w_k, so that a pseudo label takes
      over as far as the weak label is distrusted; 'one' is 1.
    mixing: what the students see, one of `MIXINGS`: 'cutmix' pastes a rectangle
      of each image's neighbour, 'none' leaves the images as they are.
    teacher: one of `TEACHERS`: 'other' is the other network's hard pseudo
      labels, 'self' the network's own hard pseudo labels of the plain image,
      'mean' the probabilities of the network's own mean over the steps.
    decay: of the mean that teaches, see
      `co_regularization.update_teachers`.
  """

  scale: float = 0.0
  ramp_up_steps: int = 0
  trust: str = 'indicator'
  mixing: str = 'cutmix'
  teacher: str = 'other'
  decay: float = 0.99


def one_weak_loss(supervision: Supervision) -> bool:
  """Returns whether alignments are those of the training loss."""
  return supervision.alignment_loss_fn in (None, supervision.weak_loss_fn)


def scale_at(scale: float | optax.Schedule, step: jax.Array):
  """Returns the factor of a term at a step, float or float []."""
  return scale(step) if callable(scale) else scale


def has_mean_teachers(co_reg: CoRegularization) -> bool:
  """Returns whether a state must hold the means of its networks."""
  return bool(co_reg.scale) and co_reg.teacher == 'mean'


def check(
    supervision: Supervision,
    weighting: Weighting,
    co_reg: CoRegularization,
    *,
    rule: WeightingRule,
    has_features: bool,
) -> None:
  """Refuses parts that do not make a method.

  Args:
    supervision: the losses.
    weighting: how the weak instances are weighted.
    co_reg: how the networks teach each other.
    rule: the rule that `weighting` names.
    has_features: whether the features of the last layer are at hand.

  Raises:
    ValueError: if a part has an unknown name, if nothing is learnt, if
      alignments are asked for without weak labels, or if a weak head comes with
      parts that it has no say in.
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
  if supervision.weak_head:
    _check_weak_head(supervision, co_reg, rule, has_features)


def _check_weak_head(supervision, co_reg, rule, has_features):
  if not has_features:
    raise ValueError('A weak_head needs a features_fn.')
  if rule.needs_alignments or co_reg.scale or not supervision.strong_scale:
    raise ValueError(
        "A weak_head keeps weak labels from the head that predicts: use "
        "weighting 'uniform', co-regularization of scale 0, and a strong_scale."
    )
