"""Learns from exact masks how much evidence a kind of annotation gives.

`hybridseg.refinement` adds the evidence of an annotation to that of the
networks: the constant `inside` where it shows an object, and `outside` where it
shows none. To find both constants of a kind, exact masks are redrawn as that
kind with the usual care and refined. The constants are those whose refined
labels are closest to the exact masks.

The masks are those of the strong training images. The networks have learnt
them, but they have seen the weak images just as often. Constants that were
learnt from images new to the networks rely on the annotations too much
(experiments/results/refinement.md).
"""

from collections.abc import Iterable
import functools
import itertools
from typing import Any, NamedTuple

from hybridseg import metrics as metrics_lib
from hybridseg import refinement
from hybridseg import types
import jax
import jax.numpy as jnp
import numpy as np

from experiments.auditing import planting
from experiments.evaluation import scoring

# Candidates in nats; with the largest, an annotation outweighs nearly any
# network.
_INSIDE = (0.0, 0.35, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
_OUTSIDE = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CANDIDATES = np.array(list(itertools.product(_INSIDE, _OUTSIDE)), np.float32)
# The constants without any mask, and the penalty on leaving them.
_RULE = np.array([1.0, 2.0])
_PENALTY = 0.02
_NUM_DRAWINGS = 2  # Drawings of each mask as each kind.


class Constants(NamedTuple):
  """The constants of one kind of annotation.

  Attributes:
    inside: evidence in nats, see `refinement.annotation_evidence`.
    outside: evidence in nats.
    num_masks: number of drawings of exact masks from which they were learnt.
    dice: mean Dice with the exact masks: 'drawn' of the drawings, 'predicted'
      of the predictions, and 'refined' of the refined labels, with the
      constants of fits that have not seen the subject.
  """

  inside: float
  outside: float
  num_masks: int
  dice: dict[str, float]


@functools.partial(jax.jit, static_argnames='num_classes')
def refine(
    probabilities: jax.Array,
    label: jax.Array,
    present: jax.Array,
    constants: jax.Array,
    trust: jax.Array,
    *,
    num_classes: int,
) -> jax.Array:
  """Refines one annotation with each of C pairs of constants.

  Args:
    probabilities: mean probabilities of the networks, float [H, W, K].
    label: label map, uint8 [H, W].
    present: whether a tag names each class as present, uint8 [K].
    constants: pairs of inside and outside, float [C, 2].
    trust: trust in the annotation, float [].
    num_classes: number of classes K.

  Returns:
    Refined label maps, uint8 [C, H, W].
  """
  repeat = lambda x: jnp.broadcast_to(x, (constants.shape[0], *x.shape))
  said = refinement.annotation_evidence(
      repeat(label), num_classes=num_classes, inside=constants[:, 0],
      outside=constants[:, 1], present=repeat(present))
  return refinement.refine_labels(repeat(probabilities), said, repeat(trust))


def calibrate(
    looked_at: Iterable[tuple[dict[str, Any], np.ndarray]],
    kinds: Iterable[int],
) -> dict[int, Constants]:
  """Learns the constants of each kind from exact masks.

  Each fold of the subjects is left out in turn, and the candidate c is chosen
  that maximises, over the drawings m of the other subjects,

    sum_m Dice_m(c) - 0.02 ||c - (1, 2)||^2.

  The constants are the mean of these choices.

  Args:
    looked_at: pairs of a record whose `label` is an exact mask, and the mean
      probabilities of the networks on its image, float [H, W, K].
    kinds: `types.AnnotationKind` of the annotations to refine.

  Returns:
    The constants of each kind.
  """
  found = {kind: ([], [], []) for kind in kinds}
  for i, (record, probs) in enumerate(looked_at):
    truth = record['label']
    if np.all(truth == types.UNLABELLED):
      continue
    num_classes = probs.shape[-1]
    subject = str(np.asarray(record['subject']).astype(str)) or f'image {i}'
    for kind, (dice, references, groups) in found.items():
      for n in range(_NUM_DRAWINGS):
        drawn, present = planting.draw(
            truth, kind, np.random.default_rng((i, kind, n)),
            num_classes=num_classes)
        # As in records, only tags state which classes are present.
        if kind != types.AnnotationKind.TAG:
          present = np.full_like(present, types.UNLABELLED)
        refined = refine(
            probs, drawn, present, _CANDIDATES, np.float32(1),
            num_classes=num_classes)
        dice.append(_dice(refined, truth, num_classes))
        references.append(_dice(
            [np.where(drawn == types.UNLABELLED, 0, drawn), probs.argmax(-1)],
            truth, num_classes))
        groups.append(subject)
  return {kind: _choose(*map(np.array, parts)) for kind, parts in found.items()}


def _dice(predictions, truth, num_classes):
  """Returns the mean Dice of each of P maps, [P]; nan if no class counts."""
  counts = _counts(
      np.asarray(predictions, np.uint8), truth, num_classes=num_classes)
  return scoring.case_means(metrics_lib.dice_from_counts(np.asarray(counts)))


@functools.partial(jax.jit, static_argnames='num_classes')
def _counts(predictions, truth, *, num_classes):
  return metrics_lib.confusion_counts(
      predictions, jnp.broadcast_to(truth, predictions.shape),
      num_classes=num_classes)


def _choose(dice, references, groups):
  """Chooses the constants by the Dice [M, C] of drawings.

  Args:
    dice: Dice of each drawing with each candidate, float [M, C].
    references: Dice of each drawing and of its prediction, float [M, 2].
    groups: subject of each drawing, [M].
  """
  if not len(groups):
    return Constants(*_RULE.tolist(), 0, {})
  folds, num_folds = planting.fold_numbers(groups)
  penalty = _PENALTY * np.sum((_CANDIDATES - _RULE) ** 2, axis=1)
  chosen, held_out = [], np.full(len(groups), np.nan)
  for fold in range(num_folds):
    others = (folds != fold) | (num_folds == 1)
    best = int(np.argmax(np.nansum(dice[others], axis=0) - penalty))
    chosen.append(_CANDIDATES[best])
    held_out[~others] = dice[~others, best]
  inside, outside = np.mean(chosen, axis=0).tolist()
  columns = [*references.T, held_out]
  return Constants(inside, outside, len(groups), {
      name: float(np.nanmean(x)) for name, x in zip(
          ('drawn', 'predicted', 'refined'), columns, strict=True)
      if not np.isnan(x).all()})
