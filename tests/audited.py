"""Made-up weak annotations, and predictions of networks for them."""

from experiments.auditing import evidence as evidence_lib
from experiments.auditing import planting
from experiments.auditing import reasons
from experiments.auditing import signs as signs_lib
from hybridseg import types
import numpy as np

SIDE = 32
NO_TAG = np.full(3, types.UNLABELLED, np.uint8)


def square(*places, background=0):
  """Returns a label map with squares, uint8 [32, 32].

  Each square is given as (class, top, left, side).
  """
  label = np.full((SIDE, SIDE), background, np.uint8)
  for value, top, left, side in places:
    label[top : top + side, left : left + side] = value
  return label


def probs(label, sure=0.95):
  """Returns the probabilities of two networks that predict a label map.

  Each gives the classes of the map the probability `sure`: [2, 32, 32, 3].
  """
  one = np.full((*label.shape, 3), (1 - sure) / 2)
  np.put_along_axis(one, label[..., None].astype(int), sure, axis=-1)
  return np.stack([one, one])


SEEN = (1, 10, 10, 8)


def evidence(disagreements, *, spread=0.0, kinds=None, references=None,
             planted=None):
  values = np.asarray(disagreements, float)
  kinds = np.full(len(values), 2) if kinds is None else np.asarray(kinds)
  reference = np.linspace(0, 0.5, 21)
  signs = np.zeros((2, len(values), len(signs_lib.NAMES)))
  signs[..., 0] = values - spread, values + spread
  nothing = planting.Planted(signs[:, :0], np.zeros(0, bool))
  return evidence_lib.Evidence(
      kinds=kinds,
      signs=signs,
      references=references or {
          name: {int(k): reference for k in np.unique(kinds)}
          for name in ('strong', 'val')},
      planted=planted or {int(k): nothing for k in np.unique(kinds)},
      reasons=[reasons.Reason('unclear', '')] * len(values))
