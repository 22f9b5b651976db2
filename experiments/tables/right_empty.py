"""Scores "right empties": classes in neither the prediction nor the reference.

The mean of a single result leaves right empties out, because there was nothing
to find. A comparison must not leave them out: if the other result predicts the
class there, its score is the worst possible, and a difference without this case
would hide the mistake. In every comparison, a right empty therefore counts with
the best possible score.

In a table of scores, a right empty is a cell without a number. But not every
cell without a number is a right empty, because other tools leave a cell blank
if they could not measure the score. A blank cell is removed from all results in
two cases: other scores show that it is not a right empty, or no score shows
whether it is one. If such a cell is blank in only one of two results, there is
no verdict between them.
"""

from typing import NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np

from experiments.evaluation import metric_table
from experiments.tables import cases as cases_lib

_TIE = 1e-9


class Paired(NamedTuple):
  """Scores of R results on N cases and K classes, prepared for comparisons.

  Attributes:
    scores: scores of all results, float64 [R, N, K]. If a cell cannot be
      compared, it is nan in all results.
    right_empty: whether the class is absent from both the prediction and the
      reference of a cell, which then got the best score, bool [R, N, K].
    unscored: whether a cell has no number for another reason, bool [R, N, K].
    absent: names of the classes that have no number in any case of any result.
  """

  scores: np.ndarray
  right_empty: np.ndarray
  unscored: np.ndarray
  absent: tuple[str, ...]


def best_score(*, higher_is_better: bool) -> float:
  """Returns the best possible score: 1 if higher is better, else 0."""
  return 1.0 if higher_is_better else 0.0


def pair(aligned: cases_lib.Aligned, *, metric: str) -> Paired:
  """Gives right empties the best score, and removes cells without a score.

  A cell without a number is not a right empty in two cases: if the same row of
  its table has another overlap score of the class (`Aligned.unproven`); or if
  another result has an overlap score in this cell that is not the worst,
  because the reference has the class then. If only some results have a distance
  in a cell, and the tables hold no overlap scores, nothing shows whether the
  other results are right empties, and the cell is removed.

  Args:
    aligned: one or more results.
    metric: a key of `metric_table.TABLE`.
  """
  blank = np.isnan(aligned.scores)
  refuted = _refutes(aligned.scores, blank, metric).any(axis=0)
  unproven = np.zeros_like(blank)
  if aligned.unproven is not None:
    unproven = aligned.unproven == cases_lib.NOT_EMPTY
    unproven |= (
        (aligned.unproven == cases_lib.UNKNOWN) & ~blank.all(axis=0))
  absent = blank.all(axis=(0, 1)) & ~unproven.any(axis=(0, 1))
  unscored = blank & (refuted | unproven)
  right_empty = blank & ~unscored & ~absent
  scores = np.where(
      right_empty,
      best_score(higher_is_better=metric_table.TABLE[metric].higher_is_better),
      aligned.scores)
  scores = np.where(unscored.any(axis=0), np.nan, scores)
  names = tuple(
      name for name, gone in zip(aligned.classes, absent, strict=True) if gone)
  return Paired(scores, right_empty, unscored, names)


def _refutes(scores, blank, metric):
  """Marks the scores that can only occur if the reference shows the class.

  These are the overlap scores that are better than the worst possible score,
  because a prediction that meets an empty reference gets the worst one.

  Args:
    scores: scores of R results on N cases and K classes, float [R, N, K].
    blank: whether a cell has no score, bool [R, N, K].
    metric: a key of `metric_table.TABLE`.

  Returns:
    Whether each score is one of these, bool [R, N, K].
  """
  if metric_table.TABLE[metric].is_distance:
    # A distance proves nothing: if a class is predicted but the reference is
    # empty, the distance is a number, too.
    return np.zeros_like(blank)
  worst = 0.0 if metric_table.TABLE[metric].higher_is_better else 1.0
  return ~blank & (np.abs(np.where(blank, worst, scores) - worst) > _TIE)


def case_scores(paired: Paired) -> np.ndarray:
  """Returns each case's mean score over the foreground classes, [R, N]."""
  return metrics_lib.mean_of_counted(paired.scores, axis=-1)


def fill_one_sided(
    first: np.ndarray, second: np.ndarray, *, higher_is_better: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Replaces nan by the best score wherever only the other result has a number.

  Args:
    first: scores of one result.
    second: scores of another result, in the same shape.
    higher_is_better: whether a higher score is better.

  Returns:
    Both arrays after the replacement.
  """
  best = best_score(higher_is_better=higher_is_better)
  fill = lambda x, other: np.where(np.isnan(x) & ~np.isnan(other), best, x)
  return fill(first, second), fill(second, first)
