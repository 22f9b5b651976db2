"""Explains what seems wrong with an annotation, as a name and in words.

The reason follows from the shapes of the annotation and of the prediction. The
thresholds were chosen on the generated phantom data, and from the definition of
the planted faults in `data_prep.drawing.label_noise`. How often the reasons are
right on endoscene is measured in `experiments/results/audit.md`.
"""

from typing import NamedTuple

from data_prep.shared import geometry
from hybridseg import types
import numpy as np

_Kind = types.AnnotationKind
REASONS = (
    'missing_object', 'wrong_place', 'shifted', 'too_large', 'too_small',
    'wrong_class', 'unclear')
# Maps each planted fault to the reason that explains it correctly.
OF_FAULT = {
    'shifted': 'shifted', 'shrunken': 'too_small',
    'wrong_place': 'wrong_place', 'missing': 'missing_object'}

# A pixel counts as part of a predicted object if its mean probability over both
# networks is at least this. Below it, the networks are too unsure to contradict
# an annotator.
_SURE = 0.5
# Predicted objects that cover less than this share of the image are ignored.
_SPECK = 0.002
# A drawing is too small if its area is below this share of the predicted one.
# The planted fault 'shrunken' leaves about a quarter of the area. The sides of
# careful drawings are off by up to 10 %, those of predictions by up to about
# 30 %: half the area separates the fault from both.
_SMALL = 0.5
# If less than this share of the smaller object lies inside the larger one, the
# reason is a wrong position of the drawing, and not a wrong size.
_INSIDE = 0.6
# Distance between a drawing and the predicted object, in sizes of the drawn
# object: beyond _NEAR, the drawing is shifted; beyond _FAR and without overlap,
# it is in the wrong place. Careful outlines stay within a quarter. With the
# exact masks of the phantom as predictions, these thresholds recognise 80 % of
# the shifted and 83 % of the misplaced annotations.
_NEAR, _FAR = 0.25, 1.0
_IOU_GOOD = 0.6  # From this IoU on, drawn and predicted objects agree.


class Reason(NamedTuple):
  """What seems wrong with an annotation.

  Attributes:
    name: one of `REASONS`.
    words: the evidence for this reason, in a few words.
  """

  name: str
  words: str


def explain(
    probs: np.ndarray, kind: int, label: np.ndarray, present: np.ndarray
) -> Reason:
  """Returns what seems wrong with an annotation, if anything does.

  Args:
    probs: class probabilities of both networks, float [2, H, W, K].
    kind: `types.AnnotationKind` of the annotation.
    label: its label map, uint8 [H, W], `types.UNLABELLED` where unknown.
    present: whether the annotation tags each class as present, uint8 [K].
  """
  seen = _seen(probs)
  if kind == _Kind.TAG:
    return _explain_tag(seen, present)
  if kind in types.SPARSE_KINDS:
    return _explain_sparse(seen, label)
  drawn = np.where(label == types.UNLABELLED, 0, label)
  if kind in types.BOX_KINDS:
    seen = _boxed(seen)
  return _explain_dense(seen, drawn)


def _seen(probs):
  """Returns the class of each pixel on which both networks agree, uint8 [H, W].

  All other pixels, and those of tiny objects, are 0.
  """
  mean = probs.mean(0)
  label = np.where(mean.max(-1) >= _SURE, mean.argmax(-1), 0).astype(np.uint8)
  label[np.any(probs.argmax(-1) != label, axis=0)] = 0
  for _, mask in geometry.components(label):
    if mask.mean() < _SPECK:
      label[mask] = 0
  return label


def _boxed(label):
  boxed = np.zeros_like(label)
  for value, mask in geometry.components(label):
    x0, y0, x1, y1 = map(int, geometry.tight_box(mask))
    boxed[y0:y1, x0:x1] = value
  return boxed


def _explain_dense(seen, drawn):
  if not seen.any():
    return Reason('unclear', 'the networks see no object')
  if not drawn.any():
    return Reason(
        'missing_object', f'nothing drawn, {_px(seen)} seen by both networks')
  both = (seen > 0) & (drawn > 0)
  other_class = both & (seen != drawn)
  if other_class.sum() > both.sum() / 2:
    return Reason('wrong_class', f'drawn as class {_most(drawn[other_class])}, '
                  f'seen as class {_most(seen[other_class])}')
  unmatched = [m for _, m in geometry.components(seen) if not drawn[m].any()]
  if unmatched and both.any() and (
      both.sum() / ((seen > 0) | (drawn > 0)).sum() < _IOU_GOOD) and (
          _is_good(seen, drawn, unmatched)):
    return Reason('missing_object',
                  f'{len(unmatched)} seen where nothing is drawn')
  return _compare(seen > 0, drawn > 0, both)


def _is_good(seen, drawn, unmatched):
  """Returns whether the drawn objects agree with the predicted ones.

  Predicted objects that nobody drew are ignored.

  Args:
    seen: predicted classes, uint8 [H, W].
    drawn: drawn classes, uint8 [H, W].
    unmatched: masks of the predicted objects that nobody drew, bool [H, W]
      each.
  """
  rest = (seen > 0) & ~np.any(unmatched, axis=0)
  return (rest & (drawn > 0)).sum() >= _IOU_GOOD * (rest | (drawn > 0)).sum()


def _compare(seen, drawn, both):
  ratio = drawn.sum() / seen.sum()
  overlap = both.sum() / min(drawn.sum(), seen.sum())
  distance = _distance(seen, drawn)
  words = (f'drawn {_px(drawn)}, seen {_px(seen)}, {overlap:.0%} of the smaller'
           f' in common, centres {distance:.1f} sizes apart')
  if distance > _FAR and not both.any():
    name = 'wrong_place'
  elif ratio < _SMALL and overlap > _INSIDE:
    name = 'too_small'
  elif ratio > 1 / _SMALL and overlap > _INSIDE:
    name = 'too_large'
  elif distance > _NEAR:
    name = 'shifted'
  else:
    name = 'unclear'
  return Reason(name, words)


def _distance(seen, drawn):
  """Returns how far the largest drawn object is from the nearest predicted one.

  The distance is measured between their centres, in sizes of the drawn object.
  """
  masks = [m for _, m in geometry.components(drawn.astype(np.uint8))]
  largest = max(masks, key=np.sum)
  x0, y0, x1, y1 = geometry.tight_box(largest)
  centre = np.argwhere(largest).mean(0)
  return min(
      float(np.hypot(*((np.argwhere(m).mean(0) - centre) / (y1 - y0, x1 - x0))))
      for _, m in geometry.components(seen.astype(np.uint8)))


def _explain_sparse(seen, label):
  drawn = (label > 0) & (label != types.UNLABELLED)
  if not seen.any():
    return Reason('unclear', 'the networks see no object')
  if not drawn.any():
    return Reason(
        'missing_object', f'nothing marked, {_px(seen)} seen by both networks')
  hit = drawn & (seen > 0)
  words = f'{hit.sum() / drawn.sum():.0%} of the marks on something seen'
  if (seen[hit] != label[hit]).sum() > hit.sum() / 2:
    return Reason('wrong_class', f'marked as class {_most(label[hit])}, seen as'
                  f' class {_most(seen[hit])}')
  if hit.sum() > drawn.sum() / 2:
    background = label == 0
    inside = (seen[background] > 0).mean() if background.any() else 0
    if inside > _SMALL:
      return Reason('too_small', f'{inside:.0%} of the background marks on '
                    'something seen')
    return Reason('unclear', words)
  # Scribbles and points do not show how large an object is. Swap the arguments,
  # so that the unit is the size of a seen object.
  distance = _distance(drawn, seen > 0)
  return Reason('wrong_place' if distance > _FAR else 'shifted',
                f'{words}, {distance:.1f} sizes away')


def _explain_tag(seen, present):
  classes = np.setdiff1d(seen, [0])
  untagged = [int(c) for c in classes if present[c] == 0]
  unseen = [c for c in range(1, len(present))
            if present[c] == 1 and c not in classes]
  if untagged and unseen:
    return Reason(
        'wrong_class', f'tagged {unseen}, seen {untagged} in place of it')
  if untagged:
    return Reason('missing_object', f'class {untagged} seen, not tagged')
  if unseen:
    return Reason('unclear', f'class {unseen} tagged, not seen')
  return Reason('unclear', 'as tagged')


def _most(values):
  return int(np.bincount(values).argmax())


def _px(mask):
  return f'{int((mask > 0).sum())} px'
