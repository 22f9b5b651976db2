"""Computes signs of a fault: numbers that compare prediction and annotation.

A single number, such as a loss, is high for a fault, but also for a small
object or an unsure network. Several numbers can distinguish these cases. They
show whether the network predicts the drawn object, whether the predicted object
extends beyond the drawn one, whether any other part of the image has higher
probabilities, and how large both objects are. `experiments.auditing.planting`
learns which values point to a fault.
"""

from hybridseg import metrics as metrics_lib
from hybridseg import types
import numpy as np
from scipy import ndimage

_Kind = types.AnnotationKind
# Names of the S signs. All have values of the order of 1, as `planting.fit`
# expects.
NAMES = (
    'disagreement', 'inside', 'ring', 'rank', 'odds_inside', 'odds_ring',
    'size_drawn', 'size_seen')
# Logarithms, which reach 5 and more, are multiplied by this factor.
_LOG_SCALE = 0.2
_LEAST = 0.01  # Added to p and 1 - p, so that log odds are finite.
# Width of the ring around a drawn object, as a multiple of the square root of
# the drawn area.
_RING = 0.35
_MIN_RING = 1.5  # Smallest width of the ring, in pixels.


def signs(
    probs: np.ndarray, kind: int, label: np.ndarray, present: np.ndarray
) -> np.ndarray:
  """Returns the S signs of one annotation for one network, float [S].

  The first sign is the `disagreement`. The others are computed for each
  foreground class that the prediction or the annotation contains, and averaged
  over these classes. With the probability map q of a class, its drawn pixels D,
  and a ring R of pixels around D, they are

    inside, ring: mean of q over D, and over R;
    rank: AUROC with which q separates D from the other labelled pixels;
    odds_inside, odds_ring: mean of the log odds of q over D, and over R;
    size_drawn, size_seen: log of the share of the image that D takes, and that
      the sum of q takes.

  If a class is not drawn, q counts as 0 in D and R, and the rank is 1/2.
  Logarithms and log odds are multiplied by 0.2.

  Args:
    probs: class probabilities of the network, float [H, W, K].
    kind: `AnnotationKind` of the annotation.
    label: its label map, uint8 [H, W], `types.UNLABELLED` where unknown.
    present: whether the annotation tags each class as present, uint8 [K].
  """
  known = label != types.UNLABELLED
  # Scribbles, points and tags leave most pixels unlabelled on purpose. Use the
  # prediction at these pixels, too.
  visible = known | (kind in (*types.SPARSE_KINDS, _Kind.TAG))
  classes = range(1, probs.shape[-1])
  held = [c for c in classes if (label == c).any()
          or probs[..., c].max(where=visible, initial=0) >= 0.5]
  return np.concatenate([
      [disagreement(probs, kind, label, present)],
      np.mean([_signs_of_class(probs[..., c], label == c, known, visible)
               for c in held or classes], axis=0)])


def _signs_of_class(seen, drawn, known, visible):
  size = drawn.sum()
  seen = np.where(visible, seen, 0)
  inside = ring = 0.0
  odds_inside = odds_ring = float(_log_odds(0.0))
  rank = 0.5
  if size:
    distance = ndimage.distance_transform_edt(~drawn)
    width = max(_RING * np.sqrt(size), _MIN_RING)
    around = (distance > 0) & (distance <= width) & visible
    odds = _log_odds(seen)
    inside, odds_inside = seen[drawn].mean(), odds[drawn].mean()
    if around.any():
      ring, odds_ring = seen[around].mean(), odds[around].mean()
    if not drawn[known].all():
      rank = metrics_lib.auroc(seen[known], drawn[known])
  share = lambda x: np.log((x + 1) / drawn.size)
  return [inside, ring, rank, *(_LOG_SCALE * x for x in (
      odds_inside, odds_ring, share(size), share(seen.sum())))]


def _log_odds(probs):
  return np.log((probs + _LEAST) / (1 + _LEAST - probs))


def disagreement(
    probs: np.ndarray, kind: int, label: np.ndarray, present: np.ndarray
) -> float:
  """Returns how much a prediction disagrees with an annotation, in [0, 1].

  The definition depends on the kind of the annotation:

  - dense kinds: 1 - soft Dice, mean over the foreground classes that the
    prediction or the annotation contains;
  - boxes and extreme points: the same for the projections of both masks on the
    two axes, as in `weak_losses.projection_loss`;
  - scribbles and points: the probability of all other classes at the marks of a
    class, mean over the classes. A foreground class without marks is assumed to
    be absent, and counts with the largest probability that it has anywhere;
  - tags: the distance between the largest probability of a class and its tag,
    which is 0 or 1, mean over the foreground classes with a tag.

  Args:
    probs: class probabilities of one network, float [H, W, K].
    kind: `AnnotationKind` of the annotation.
    label: its label map, uint8 [H, W], `types.UNLABELLED` where unknown.
    present: whether the annotation tags each class as present, uint8 [K].
  """
  num_classes = probs.shape[-1]
  if kind == _Kind.TAG:
    values = [abs(float(present[c]) - probs[..., c].max())
              for c in range(1, num_classes) if present[c] <= 1]
  elif kind in types.SPARSE_KINDS:
    marked = {c: label == c for c in range(num_classes)}
    values = [1 - probs[marks, c].mean() if marks.any() else probs[..., c].max()
              for c, marks in marked.items() if c or marks.any()]
  else:
    known = label != types.UNLABELLED
    values = []
    for c in range(1, num_classes):
      drawn, seen = label == c, np.where(known, probs[..., c], 0)
      # Skip a class that neither prediction nor annotation contains: its
      # trivial agreement would lower the mean disagreement.
      if drawn.any() or seen.max(initial=0) >= 0.5 or num_classes == 2:
        values.append(
            _shadow_loss(seen, drawn) if kind in types.BOX_KINDS
            else _dice_loss(seen.sum(), drawn.sum(), seen[drawn].sum()))
  return float(np.mean(values)) if values else 0.0


def _dice_loss(size, other_size, overlap):
  return 1 - (2 * overlap + 1) / (size + other_size + 1)


def _shadow_loss(seen, drawn):
  values = []
  for axis in (0, 1):
    one, other = seen.max(axis), drawn.max(axis)
    values.append(
        _dice_loss((one**2).sum(), other.sum(), one[other].sum()))
  return np.mean(values)
