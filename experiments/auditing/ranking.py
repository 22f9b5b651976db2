"""From the evidence of a run to a ranked list of annotations to draw again.

The score of an annotation is the probability that it is faulty,

  score_k = sigmoid(mean over the networks of (b . [s_k, 1]) + prior),

with its signs s (`signs`), coefficients b learnt, for each kind, from
faults that are planted in exact masks of the strong training images (the mean
of fits that each leave out one fold of their subjects), and the log odds of the
share of faulty ones among all (`planting`). The networks have learnt
these masks, and agree with them better than with good weak annotations: the
ranking does not suffer from it, but the scores are too high, by about a fifth
(`experiments/results/audit.md`). How the score compares with the parts that are
not in it, and with ranking by the loss: `experiments/results/audit_power.md`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np
from scipy import special

from data_prep.shared import grammar
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import planting

# Networks that hardly find anything must not turn noise into evidence.
_MIN_ROOM = 0.1
_LEVEL = 0.9  # Quantile of the references that an annotation has to exceed.
_MIN_NUMBER = 10  # To speak of a share, and of a reference.
_NUM_RESAMPLES = 1000


class Scores(NamedTuple):
  """What is made of the evidence on N annotations.

  Attributes:
    parts: what one could rank by instead, higher is worse, each float [N]:
      'disagreement', 'alignment' and, where they move, 'indicator'.
    score: in [0, 1], higher is more suspect, float [N].
    low: lower end of its interval, float [N].
    high: upper end of its interval, float [N].
    held_out: AUROC on planted faults of subjects that a fit has not seen, by
      kind; None where there is but one subject, or nothing planted. The
      networks have seen the strong ones: it is better than on weak annotations.
  """

  parts: Mapping[str, np.ndarray]
  score: np.ndarray
  low: np.ndarray
  high: np.ndarray
  held_out: Mapping[int, float | None]


def score(evidence: evidence_lib.Evidence) -> Scores:
  """Scores every annotation.

  The interval is sigmoid(mean +- 2 standard deviations of the log odds over
  the networks): what the two do not agree on. It is no confidence interval:
  what both get wrong it does not show.
  """
  parts = {
      'disagreement': _above_usual(evidence),
      'alignment': (1 - evidence.alignments.mean(0)) / 2,
  }
  if evidence.indicators is not None:
    parts['indicator'] = 1 - evidence.indicators
  odds, held_out = np.zeros(evidence.signs.shape[:2]), {}
  for kind, planted in evidence.planted.items():
    rows = evidence.kinds == kind
    # The odds are linear: their mean is that of the coefficients.
    coefficients, unseen = planting.cross_fit(planted)
    odds[:, rows] = planting.log_odds(
        evidence.signs[:, rows], coefficients.mean(0))
    held_out[kind] = _auroc(unseen.mean(0), planted.faulty)
  mean, spread = odds.mean(0), 2 * odds.std(0)
  mean += planting.prior_log_odds(mean)
  return Scores(
      parts=parts, score=special.expit(mean),
      low=special.expit(mean - spread), high=special.expit(mean + spread),
      held_out=held_out)


def _auroc(odds, faulty):
  known = ~np.isnan(odds)
  if len(set(faulty[known].tolist())) < 2:
    return None
  return metrics_lib.auroc(odds[known], faulty[known])


def _above_usual(evidence):
  """Returns disagreements on one scale for all kinds: (D - m) / (1 - m).

  m is the median over exact masks of the validation split, drawn as that kind.
  """
  usual = np.zeros(len(evidence.kinds))
  for kind, values in evidence.references['val'].items():
    usual[evidence.kinds == kind] = np.median(values)
  return (evidence.disagreements.mean(0) - usual) / np.maximum(
      1 - usual, _MIN_ROOM)


def estimate_faulty(
    evidence: evidence_lib.Evidence, rows: np.ndarray | None = None
) -> dict[str, Any]:
  """Estimates how many annotations are faulty, between two references.

  Were all annotations of a kind as good as a reference's exact masks, a tenth
  of them would disagree with the networks more than the 0.9 quantile of the
  reference does. What exceeds that, s, points at a share of (s - 0.1) / 0.9
  faulty ones. Images of the validation split are new to the networks, which
  disagree with them more than with good annotations of the training images: too
  few faults are found. The strong training images are well known: too many. The
  estimate is the mean of both; the interval goes from the lower end of the
  bootstrap interval of the one to the upper end of the other.

  Args:
    evidence: of all annotations.
    rows: of those to speak of, int or bool [N]; None is all.

  Returns:
    `share`, `number`, and `interval` of the number, None where it cannot tell
    them at all; `can_tell`: whether there are any; `why`, in words.
  """
  rows = np.arange(len(evidence.kinds)) if rows is None else rows
  kinds = evidence.kinds[rows]
  values = evidence.disagreements[:, rows].mean(0)
  unknown = {'share': None, 'number': None, 'interval': None, 'can_tell': False}
  if len(values) < _MIN_NUMBER:
    return unknown | {'why': (
        f'{grammar.counted(len(values), "weak annotation")}, too few')}
  smallest = min(
      len(reference[kind])
      for reference in evidence.references.values() for kind in set(kinds))
  if smallest < _MIN_NUMBER:
    return unknown | {
        'why': f'{smallest} exact masks to compare with, too few'}
  rng = np.random.default_rng(0)
  bounds = {
      name: _excess(values, kinds, reference, rng)
      for name, reference in evidence.references.items()}
  low = min(b[1] for b in bounds.values())
  high = max(b[2] for b in bounds.values())
  share = float(np.mean([b[0] for b in bounds.values()]))
  why = 'more disagree with the networks than exact masks of new images do'
  if low <= 0:
    why = ('cannot tell from none: no more of them disagree with the networks '
           'than exact masks of new images do')
  return {
      'share': share, 'number': round(share * len(values)),
      'interval': [int(low * len(values)), int(np.ceil(high * len(values)))],
      'can_tell': bool(low > 0), 'why': why}


def _excess(values, kinds, reference, rng):
  """Returns the share beyond a reference, and a bootstrap interval of it."""
  codes = np.unique(kinds)
  groups = [(values[kinds == k], reference[k]) for k in codes.tolist()]

  def share(resampled):
    total = 0
    for found, exact in groups:
      if resampled:
        found, exact = (
            x[rng.integers(len(x), size=len(x))] for x in (found, exact))
      # A strict excess: many values of 0 or 1 are no fault.
      beyond = np.mean(found > np.quantile(exact, _LEVEL))
      total += len(found) * (beyond - (1 - _LEVEL)) / _LEVEL
    return float(np.clip(total / len(values), 0, 1))

  low, high = np.quantile(
      [share(True) for _ in range(_NUM_RESAMPLES)], [0.025, 0.975])
  return share(False), float(low), float(high)


def summarize_groups(
    evidence: evidence_lib.Evidence,
    scores: Scores,
    names: np.ndarray,
) -> dict[str, dict[str, Any]]:
  """Returns number, mean score and estimate of faulty ones, by group.

  Args:
    evidence: of all annotations.
    scores: of all annotations.
    names: group of each, text [N].
  """
  return {
      str(name): {
          'number': int((names == name).sum()),
          'mean_score': float(scores.score[names == name].mean()),
          'faulty': estimate_faulty(evidence, np.flatnonzero(names == name)),
      }
      for name in np.unique(names)
  }


def evaluate(
    scores: Scores,
    faults: np.ndarray,
    reasons: list[str],
    *,
    num_first: int = 50,
) -> dict[str, Any] | None:
  """Says how well planted faults were found; None where none are known.

  Args:
    scores: of all annotations.
    faults: the planted fault of each, '' if none, text [N].
    reasons: the stated reason of each.
    num_first: how many of the first suspects to count the faulty among.

  Returns:
    `auroc` of the score, of each part, and by fault; `precision_of_first`;
    `confusion`: planted fault to stated reason to their number; `share_sure`:
    of the annotations whose interval lies on one side of 0.5, and how many of
    these, and of the others, are on the right side.
  """
  faulty = faults != ''
  if not faulty.any() or faulty.all():
    return None
  first = rank(scores)[:num_first]
  confusion = {
      str(fault) or 'none': {
          str(reason): int(number) for reason, number in zip(*np.unique(
              [r for r, f in zip(reasons, faults, strict=True) if f == fault],
              return_counts=True), strict=True)}
      for fault in np.unique(faults)}
  sure = (scores.low > 0.5) | (scores.high < 0.5)
  right = (scores.score > 0.5) == faulty
  return {
      'auroc': metrics_lib.auroc(scores.score, faulty),
      'auroc_of_part': {
          name: metrics_lib.auroc(values, faulty)
          for name, values in scores.parts.items()},
      'auroc_by_fault': {
          str(fault): metrics_lib.auroc(
              scores.score[~faulty | (faults == fault)],
              faulty[~faulty | (faults == fault)])
          for fault in np.unique(faults[faulty])},
      'num_first': len(first),
      'precision_of_first': float(faulty[first].mean()),
      'num_faulty': int(faulty.sum()),
      'confusion': confusion,
      'share_sure': float(sure.mean()),
      'right_where_sure': _mean(right[sure]),
      'right_where_not': _mean(right[~sure]),
  }


def _mean(values):
  return float(values.mean()) if values.size else None


def rank(scores: Scores) -> np.ndarray:
  """Returns the rows, most suspect first; of equals the first, int [N]."""
  return np.argsort(-scores.score, kind='stable')
