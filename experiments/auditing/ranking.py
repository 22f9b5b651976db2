"""Turns the evidence of a run into a ranked list of annotations to redraw.

The score of an annotation is the probability that it is faulty,

  score_k = sigmoid(mean over the networks of (b . [s_k, 1]) + prior).

Here s_k are the signs of annotation k (`signs`). The coefficients b are learnt
for each kind of annotation from faults that are planted in exact masks of the
strong training images. They are the mean of several fits, each of which leaves
out one fold of the subjects. The prior is the log odds of the share of faulty
annotations (`planting`).

The networks have learnt these exact masks, and agree with them better than with
good weak annotations. This does not impair the ranking, but the scores are too
high, by about a fifth (`experiments/results/audit.md`).
`experiments/results/audit_power.md` compares this ranking with rankings by the
loss and by other evidence that the score does not use.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np
from scipy import special

from data_prep.shared import grammar
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import planting

# An annotation is suspect if its disagreement is above this quantile of the
# disagreements with exact masks.
_LEVEL = 0.9
# An estimate needs at least this many annotations, and as many exact masks.
_MIN_NUMBER = 10
_NUM_RESAMPLES = 1000


class Scores(NamedTuple):
  """The scores of N annotations.

  Attributes:
    score: probability that each annotation is faulty, float [N].
    low: lower end of each score's interval, float [N].
    high: upper end of each score's interval, float [N].
    held_out: maps each kind to the AUROC with which planted faults are found in
      subjects that were left out of the fit; or to None if there is only one
      subject, or no planted fault. On weak annotations, the AUROC would be
      lower, because the networks have learnt the strong images.
  """

  score: np.ndarray
  low: np.ndarray
  high: np.ndarray
  held_out: Mapping[int, float | None]


def score(evidence: evidence_lib.Evidence) -> Scores:
  """Computes the score of every annotation.

  The interval of a score is sigmoid(mean +- 2 standard deviations), where mean
  and standard deviation are those of the log odds over the two networks. It
  shows how much the networks disagree. It is not a confidence interval, because
  it does not show errors that both networks make.
  """
  odds, held_out = np.zeros(evidence.signs.shape[:2]), {}
  for kind, planted in evidence.planted.items():
    rows = evidence.kinds == kind
    # The log odds are linear in the coefficients, so that the mean coefficients
    # of all fits give the mean of their log odds.
    coefficients, unseen = planting.cross_fit(planted)
    odds[:, rows] = planting.log_odds(
        evidence.signs[:, rows], coefficients.mean(0))
    held_out[kind] = _auroc(unseen.mean(0), planted.faulty)
  mean, spread = odds.mean(0), 2 * odds.std(0)
  mean += planting.prior_log_odds(mean)
  return Scores(
      score=special.expit(mean), low=special.expit(mean - spread),
      high=special.expit(mean + spread), held_out=held_out)


def _auroc(odds, faulty):
  known = ~np.isnan(odds)
  if len(set(faulty[known].tolist())) < 2:
    return None
  return metrics_lib.auroc(odds[known], faulty[known])


def estimate_faulty(
    evidence: evidence_lib.Evidence, rows: np.ndarray | None = None
) -> dict[str, Any]:
  """Estimates how many annotations are faulty.

  The networks' disagreements with the annotations are compared with their
  disagreements with exact masks that are drawn as the same kind. If all
  annotations were as good as these masks, a tenth of them would have a
  disagreement above the 0.9 quantile for the masks. If a larger share s has
  such a disagreement, a share of (s - 0.1) / 0.9 is estimated to be faulty.

  There are two such estimates. Exact masks of the validation split are new to
  the networks, which disagree with them more than with good annotations of
  training images, so that the first estimate is too low. Exact masks of the
  strong training images have been learnt by the networks, so that the second
  estimate is too high. The result is the mean of both. Its interval goes from
  the lowest to the highest end of their bootstrap intervals.

  Args:
    evidence: evidence on all N annotations.
    rows: the annotations to consider, as int positions or bool [N]; None
      stands for all.

  Returns:
    `share` and `number` of the faulty annotations, and `interval` of the
    number, all None if there are too few annotations or exact masks;
    `can_tell`, whether the data show that any annotation is faulty; and `why`,
    an explanation.
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
  """Estimates the share of faulty annotations from one set of exact masks.

  Args:
    values: disagreement of each annotation, float [N].
    kinds: kind of each annotation, int [N].
    reference: maps each kind to the disagreements with exact masks drawn as
      this kind.
    rng: random generator of the bootstrap.

  Returns:
    The share, and the lower and upper end of its 95 % bootstrap interval.
  """
  codes = np.unique(kinds)
  groups = [(values[kinds == k], reference[k]) for k in codes.tolist()]

  def share(resampled):
    total = 0
    for found, exact in groups:
      if resampled:
        found, exact = (
            x[rng.integers(len(x), size=len(x))] for x in (found, exact))
      # Use > and not >=: disagreements with good annotations are often all 0 or
      # all 1, and so equal to the quantile.
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
  """Summarizes the annotations of each group, such as each annotator.

  Args:
    evidence: evidence on all annotations.
    scores: scores of all annotations.
    names: name of the group of each annotation, N strings.

  Returns:
    For each group, its number of annotations, their mean score, and the
    estimate of `estimate_faulty`.
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
  """Measures how well the ranking finds faults that were planted in the set.

  Args:
    scores: scores of all annotations.
    faults: planted fault of each annotation, N strings, '' if none.
    reasons: stated reason of each annotation.
    num_first: number of first suspects for `precision_of_first`.

  Returns:
    None if no annotation, or every annotation, has a planted fault. Otherwise:
    `auroc` of the score, and `auroc_by_fault`; `precision_of_first`, the share
    of faulty annotations among the first suspects; `confusion`, the number of
    annotations for each planted fault and stated reason; `share_sure`, the
    share of annotations whose interval lies on one side of 0.5; and the shares
    of scores on the right side of 0.5, among these annotations
    (`right_where_sure`) and among all others (`right_where_not`).
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
  """Returns the positions of the annotations, most suspect first, int [N].

  Annotations of equal score keep their order.
  """
  return np.argsort(-scores.score, kind='stable')
