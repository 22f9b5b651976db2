"""Learns from planted faults which signs point to a faulty annotation.

Exact masks are redrawn as a kind of weak annotation, some with the usual care
and some with the faults of `data_prep.drawing.label_noise`. A logistic
regression learns the odds of a fault from the signs (`signs`) of these
drawings. It uses neither the weak annotations of the set nor anything known
about them.
"""

from typing import NamedTuple

from data_prep.drawing import label_noise
from data_prep.drawing import simulate
from hybridseg import types
import numpy as np
from scipy import optimize
from scipy import special

from experiments.auditing import signs as signs_lib

_Kind = types.AnnotationKind
# Coefficients if no fault can be planted: the log odds of a fault are
# 8 (disagreement - 1/2).
_RULE = np.array(
    [8.0 if n == 'disagreement' else 0.0 for n in signs_lib.NAMES] + [-4.0])
# Penalty on the distance from `_RULE`. With all masks, values from 0.03 to 0.3
# rank about equally well; with a penalty of 1, 50 masks are too few to move the
# coefficients.
_PENALTY = 0.1
_NUM_FOLDS = 5
# Iterations of EM, which converges slowly if few annotations are faulty.
_NUM_ROUNDS = 500


class Planted(NamedTuple):
  """M drawings of exact masks as one kind of weak annotation, good and faulty.

  Attributes:
    signs: the S signs of each drawing for each of V networks, float [V, M, S].
    faulty: whether a fault is planted in each drawing, bool [M].
    groups: subject of each drawing, [M]; None if each is its own subject.
  """

  signs: np.ndarray
  faulty: np.ndarray
  groups: np.ndarray | None = None


def draw(
    truth: np.ndarray,
    kind: int,
    rng: np.random.Generator,
    *,
    num_classes: int,
    fault: str = '',
) -> tuple[np.ndarray, np.ndarray]:
  """Simulates how an annotator would draw an exact mask as a weak annotation.

  Args:
    truth: exact mask, uint8 [H, W].
    kind: `types.AnnotationKind` of the drawing. If `simulate` cannot draw this
      kind, the result is the mask itself, with the fault if there is one.
    rng: random generator.
    num_classes: number of classes K.
    fault: name of the fault to plant, one of `simulate.FAULTS`; '' for none.

  Returns:
    The label map, uint8 [H, W], and whether each class is tagged as present,
    uint8 [K].
  """
  held = lambda classes: np.isin(
      np.arange(num_classes), classes).astype(np.uint8)
  name = _Kind(kind).name.lower()
  if name not in simulate.KINDS:
    if fault:
      truth = label_noise.add_fault(truth, rng, fault=fault)
    return truth, held(truth)
  drawn = simulate.simulate_weak(
      truth, rng, kind=name, quality_level=rng.uniform(), fault=fault,
      num_classes=num_classes)
  present = drawn['labels'] if kind == _Kind.TAG else truth
  return simulate.draw(drawn, truth.shape), held(present)


def fit(signs: np.ndarray, faulty: np.ndarray) -> np.ndarray:
  """Fits the coefficients b of the log odds of a fault, float [S + 1].

  With the signs s_m of drawing m, and with y_m = 1 if it is faulty, else -1,
  the coefficients minimise

    sum_m log(1 + exp(-y_m (b . [s_m, 1]))) + 0.05 ||b - b0||^2,

  where b0 are the coefficients of a fixed rule that uses the disagreement
  alone. The fewer drawings there are, the closer b stays to this rule.

  Args:
    signs: signs of the drawings, float [M, S]; M may be 0.
    faulty: whether each drawing is faulty, bool [M].
  """
  inputs = _with_one(signs)
  sign = np.where(faulty, 1.0, -1.0)

  def loss_and_grad(b):
    margins, away = sign * (inputs @ b), b - _RULE
    return (
        np.logaddexp(0, -margins).sum() + _PENALTY / 2 * (away**2).sum(),
        -inputs.T @ (sign * special.expit(-margins)) + _PENALTY * away)

  return optimize.minimize(
      loss_and_grad, _RULE, jac=True, method='L-BFGS-B').x


def cross_fit(planted: Planted) -> tuple[np.ndarray, np.ndarray]:
  """Fits the coefficients several times, each time without some subjects.

  The subjects are divided into F folds, and each fit leaves out one fold.

  Args:
    planted: drawings of one kind.

  Returns:
    The coefficients of each fit, float [F, S + 1]; and for each network and
    drawing, the log odds of a fault by the fit that left out its subject, float
    [V, M]. These are nan if there is only one subject, which is never left out.
  """
  num_networks, number, num_signs = planted.signs.shape
  held_out = np.full((num_networks, number), np.nan)
  groups = np.arange(number) if planted.groups is None else planted.groups
  folds, num_folds = fold_numbers(groups)
  coefficients = []
  for fold in range(num_folds):
    inside = (folds != fold) | (num_folds == 1)
    coefficients.append(fit(
        planted.signs[:, inside].reshape(-1, num_signs),
        np.tile(planted.faulty[inside], num_networks)))
    held_out[:, ~inside] = log_odds(
        planted.signs[:, ~inside], coefficients[-1])
  return np.stack(coefficients), held_out


def fold_numbers(groups: np.ndarray) -> tuple[np.ndarray, int]:
  """Divides drawings into folds, so that no subject is in two folds.

  Args:
    groups: subject of each drawing, [M].

  Returns:
    The fold of each drawing, int [M], and the number of folds: 5, or the number
    of subjects if that is smaller.
  """
  _, groups = np.unique(groups, return_inverse=True)
  num_groups = int(groups.max(initial=0)) + 1
  num_folds = min(_NUM_FOLDS, num_groups)
  order = np.random.default_rng(0).permutation(num_groups)
  return (order % num_folds)[groups], num_folds


def log_odds(signs: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
  """Returns the log odds of a fault, as if half of all annotations were faulty.

  Args:
    signs: signs of annotations, float [..., S].
    coefficients: coefficients from `fit`, float [S + 1].

  Returns:
    Log odds, float [...].
  """
  return _with_one(signs) @ coefficients


def _with_one(signs):
  return np.concatenate([signs, np.ones((*signs.shape[:-1], 1))], axis=-1)


def prior_log_odds(balanced: np.ndarray) -> float:
  """Estimates the share of faulty annotations, and returns its log odds.

  Adding the result to the `log_odds` of an annotation gives the log odds that
  the annotation is faulty, given this share. EM finds the share that equals the
  mean probability of a fault: Saerens et al., "Adjusting the outputs of a
  classifier to new a priori probabilities", 2002
  (https://doi.org/10.1162/089976602753284446). One good and one faulty
  annotation are added to those observed, so that a few annotations cannot make
  the share 0 or 1.

  Args:
    balanced: log odds of each annotation from `log_odds`, float [N].
  """
  share = 0.5
  for _ in range(_NUM_ROUNDS):
    posterior = special.expit(balanced + special.logit(share))
    share = (posterior.sum() + 1) / (len(balanced) + 2)
  return float(special.logit(share))
