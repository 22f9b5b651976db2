"""Learns how much evidence each kind of annotation gives about the true label.

To correct a weak label, `hybridseg.refinement` adds the evidence of the
annotation to that of the networks: the constant `inside` where the annotation
shows an object, and the constant `outside` where it shows none. This module
finds both constants for each kind of annotation, such as boxes. It draws
careful annotations of this kind from exact masks and refines them. It chooses
the constants with which the refined labels are closest to the masks.

The exact masks are those of the strong training images. The networks have
learnt from these images, but they have seen the weak images just as often.
Constants from images that are new to the networks would rely on the annotations
too much (experiments/results/refinement.md).
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

# Candidates for the constants, in nats. With the largest ones, an annotation
# outweighs the evidence of nearly any network.
_INSIDE = (0.0, 0.35, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
_OUTSIDE = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CANDIDATES = np.array(list(itertools.product(_INSIDE, _OUTSIDE)), np.float32)
# The constants to use if there are no exact masks, and the factor of the
# penalty on the squared distance from them.
_RULE = np.array([1.0, 2.0])
_PENALTY = 0.02
_NUM_DRAWINGS = 2  # Number of annotations of each kind drawn from each mask.


class Constants(NamedTuple):
  """The constants of one kind of annotation.

  Attributes:
    inside: evidence of an annotation that shows an object, in nats, see
      `refinement.annotation_evidence`.
    outside: evidence of an annotation that shows no object, in nats.
    num_drawn: number of annotations that were drawn from exact masks to learn
      the constants.
    dice: mean Dice with the exact masks. 'drawn' is that of the drawn
      annotations, 'predicted' that of the predictions of the networks, and
      'refined' that of the refined labels. For 'refined', each label is refined
      with constants that were fitted without its subject.
  """

  inside: float
  outside: float
  num_drawn: int
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
  """Refines one annotation with each of C pairs of evidence constants.

  Args:
    probabilities: mean probabilities of the networks, float [H, W, K].
    label: label map of the annotation, uint8 [H, W].
    present: for each class, whether a tag names it as present, uint8 [K].
    constants: C pairs (inside, outside) of the evidence constants that
      `Constants` describes, in nats, float [C, 2].
    trust: factor of the annotation's evidence, in [0, 1], float [].
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

  The subjects are divided into folds, and each fold is left out in turn. The
  pair of constants c = (inside, outside) is chosen to maximise

    sum_m Dice_m(c) - 0.02 ||c - (1, 2)||^2,

  where m runs over the annotations that were drawn from masks of the other
  folds, and Dice_m(c) is the Dice between annotation m, refined with c, and its
  exact mask. The result is the mean of the pairs over the folds.

  Args:
    looked_at: pairs of a record whose `label` is an exact mask, and the mean
      probabilities of the networks on its image, float [H, W, K].
    kinds: kinds of the annotations to refine, as `types.AnnotationKind`.

  Returns:
    A dictionary that maps each kind to its constants.
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
        # Only tags state which classes are present. Records of all other kinds
        # leave this open.
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
  """Returns the Dice of each of P label maps, mean over the classes, [P].

  The Dice is nan for a map in which no class counts.
  """
  counts = _counts(
      np.asarray(predictions, np.uint8), truth, num_classes=num_classes)
  return scoring.case_means(metrics_lib.dice_from_counts(np.asarray(counts)))


@functools.partial(jax.jit, static_argnames='num_classes')
def _counts(predictions, truth, *, num_classes):
  return metrics_lib.confusion_counts(
      predictions, jnp.broadcast_to(truth, predictions.shape),
      num_classes=num_classes)


def _choose(dice, references, groups):
  """Chooses the constants of one kind from M drawn annotations.

  Args:
    dice: Dice of each annotation after refinement with each of the C candidate
      pairs of constants, float [M, C].
    references: Dice of each annotation before refinement, and of the prediction
      on its image, float [M, 2].
    groups: subject of each annotation, [M].
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
