"""Signs of a fault: a prediction beside an annotation, in a few numbers.

One number, as a loss is, cannot tell a fault from a network that is unsure or
from a small object. These can: is what is drawn seen, does what is seen go on
around what is drawn, is the drawn place the best one in this image, how large
are both. `experiments.auditing.planting` learns what they look like where a
fault is.
"""

from hybridseg import metrics as metrics_lib
from hybridseg import types
import numpy as np
from scipy import ndimage

_Kind = types.AnnotationKind
# All are of the order of 1, for `planting.fit`.
NAMES = (
    'disagreement', 'inside', 'ring', 'rank', 'odds_inside', 'odds_ring',
    'size_drawn', 'size_seen')
_LOG_SCALE = 0.2  # Logarithms reach 5 and more.
_LEAST = 0.01  # Probability, before its odds are taken.
_RING = 0.35  # Width, in square roots of the drawn area.
_MIN_RING = 1.5  # Pixels.


def signs(
    probs: np.ndarray, kind: int, label: np.ndarray, present: np.ndarray
) -> np.ndarray:
  """Returns the signs of `NAMES`, float [S].

  For each foreground class that either holds, and then their mean: with q its
  probability, D the pixels drawn as it and R a ring around these,

    inside, ring: mean of q over D, over R;
    rank: AUROC of q for D: whether this is the place to draw;
    odds_inside, odds_ring: mean of the log odds of q over D, over R;
    size_drawn, size_seen: log of the share of the image in D, in q.

  Where nothing is drawn, q counts as 0 in D and R, and the rank is 1/2.

  Args:
    probs: of one network, float [H, W, K].
    kind: `AnnotationKind`.
    label: uint8 [H, W], `types.UNLABELLED` where unknown.
    present: what the tag says of each class, uint8 [K].
  """
  known = label != types.UNLABELLED
  # Marks are few on purpose: what is around them is seen, if not labelled.
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
  """Returns how far a prediction and an annotation are apart, in [0, 1].

  By what the annotation says. Dense kinds: 1 - soft Dice over the foreground
  classes that either of them holds. Boxes and extreme points: the same of the
  shadows on both axes (as `weak_losses.projection_loss`). Scribbles and points:
  mean over the classes of the probability of another class at their marks, or
  for a foreground class that has none, which says that it is not there, of its
  largest probability. Tags: mean over the classes of how far the largest
  probability is from yes or no.

  Args:
    probs: of one network, float [H, W, K].
    kind: `AnnotationKind`.
    label: uint8 [H, W], `types.UNLABELLED` where unknown.
    present: what the tag says of each class, uint8 [K].
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
      # A class that nobody holds agrees trivially: it must not dilute.
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
