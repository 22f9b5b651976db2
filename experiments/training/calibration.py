"""How much a kind of annotation tells, learnt from exact masks.

`hybridseg.refinement` adds what an annotation says to what the networks say:
`inside` where it shows an object, `outside` where it shows none. Both numbers
of a kind are those with which exact masks, drawn again as that kind with the
usual care, are refined to what is nearest to these masks. Those of the strong
training images: the networks have learnt them, but they have seen the weak
images as often, and constants that were learnt from images which are new to the
networks ask the annotations for too much (experiments/results/refinement.md).
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

# In nats; above the largest, an annotation outweighs almost any network.
_INSIDE = (0.0, 0.35, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
_OUTSIDE = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CANDIDATES = np.array(list(itertools.product(_INSIDE, _OUTSIDE)), np.float32)
# What is chosen where the masks do not tell, and how slow they are to tell.
_RULE = np.array([1.0, 2.0])
_PENALTY = 0.02
_NUM_DRAWINGS = 2  # Of each mask as each kind.


class Constants(NamedTuple):
  """What is known of one kind of annotation.

  Attributes:
    inside: in nats, see `refinement.annotation_evidence`.
    outside: in nats.
    num_masks: how many drawings of exact masks it was learnt from.
    dice: mean Dice of these drawings with the masks they are drawn from, by
      what is done with them: 'drawn', 'predicted' and 'refined', the last with
      the constants of fits that have not seen the subject.
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
  """Refines one annotation by each of C pairs of constants.

  Args:
    probabilities: mean of the networks, float [H, W, K].
    label: label map, uint8 [H, W].
    present: of a tag, uint8 [K].
    constants: inside and outside, float [C, 2].
    trust: in the annotation, float [].
    num_classes: number of classes K.

  Returns:
    Classes, uint8 [C, H, W].
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

  Of all candidates c, those are taken that maximise

    sum_m Dice_m(c) - 0.02 ||c - (1, 2)||^2

  over the drawings m: once for each fold of the subjects, left out in turn, and
  then the mean of these.

  Args:
    looked_at: records, whose `label` is an exact mask, and the mean
      probabilities of the networks on their images, float [H, W, K].
    kinds: `types.AnnotationKind` of the annotations to refine.

  Returns:
    Constants by kind.
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
        if kind != types.AnnotationKind.TAG:  # As in records.
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
  """Returns the mean Dice of each of P maps, [P]; nan if nothing is there."""
  counts = _counts(
      np.asarray(predictions, np.uint8), truth, num_classes=num_classes)
  return scoring.case_means(metrics_lib.dice_from_counts(np.asarray(counts)))


@functools.partial(jax.jit, static_argnames='num_classes')
def _counts(predictions, truth, *, num_classes):
  return metrics_lib.confusion_counts(
      predictions, jnp.broadcast_to(truth, predictions.shape),
      num_classes=num_classes)


def _choose(dice, references, groups):
  """Returns the constants by Dice [M, C], of drawings of these subjects."""
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
