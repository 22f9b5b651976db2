"""Right empties in paired numbers: a class that is rightly in neither mask.

The mean of one result leaves them out, for nothing was to be found. A
comparison must not: where the other result invents the class, its score is the
worst, and a difference without this case forgives what was invented. In every
paired number a right empty therefore counts as the best score there is, in all
results alike.

In a table, a right empty is a cell without a number. Not every such cell is
one: other tools leave blank what they could not measure. Where the results
themselves show that it is none, or nothing shows that it is one, the cell is
taken out of all results, and there is no verdict between two results of which
one alone lacks the number.
"""

from typing import NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np

from experiments.evaluation import metric_table
from experiments.tables import cases as cases_lib

_TIE = 1e-9


class Paired(NamedTuple):
  """Scores that may be subtracted.

  Attributes:
    scores: float64 [R, N, K]; nan where no result is compared.
    right_empty: cells that were given the best score, bool [R, N, K].
    unscored: cells without a number that are no right empty, bool [R, N, K].
    absent: names of classes that no case has a number of, in any result.
  """

  scores: np.ndarray
  right_empty: np.ndarray
  unscored: np.ndarray
  absent: tuple[str, ...]


def best_score(*, higher_is_better: bool) -> float:
  """Returns 1 of what is better when higher, 0 of errors and distances."""
  return 1.0 if higher_is_better else 0.0


def pair(aligned: cases_lib.Aligned, *, metric: str) -> Paired:
  """Gives right empties the best score, and takes out what has no score.

  A cell without a number is no right empty if the same line of its table has
  an overlap of that class (`Aligned.unproven`), or if another result has some
  overlap there, for which the reference cannot be empty. Distances alone prove
  nothing where only some of the results have one.

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
  """Says where a number cannot be of a case whose reference is empty."""
  if metric_table.TABLE[metric].is_distance:
    return np.zeros_like(blank)  # What is invented is as far as the case wide.
  worst = 0.0 if metric_table.TABLE[metric].higher_is_better else 1.0
  return ~blank & (np.abs(np.where(blank, worst, scores) - worst) > _TIE)


def case_scores(paired: Paired) -> np.ndarray:
  """Averages over the foreground classes, float64 [R, N]."""
  return metrics_lib.mean_of_counted(paired.scores, axis=-1)


def fill_one_sided(
    first: np.ndarray, second: np.ndarray, *, higher_is_better: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Returns both, with the best score where only the other one has a number."""
  best = best_score(higher_is_better=higher_is_better)
  fill = lambda x, other: np.where(np.isnan(x) & ~np.isnan(other), best, x)
  return fill(first, second), fill(second, first)
