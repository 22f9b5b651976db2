"""Right empties in paired numbers: classes that are rightly in neither mask.

The mean of one result leaves right empties out, because there was nothing to
find. A comparison must not leave them out: where the other result invents the
class, its score is the worst possible, and a difference without this case would
forgive the invention. In every paired number a right empty therefore counts
with the best possible score, in all results alike.

In a table, a right empty is a cell without a number. Not every such cell is a
right empty, because other tools leave blank what they could not measure. If the
results themselves show that a cell is not one, or if nothing shows that it is,
the cell is removed from all results. There is no verdict between two results if
only one of them lacks the number.
"""

from typing import NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np

from experiments.evaluation import metric_table
from experiments.tables import cases as cases_lib

_TIE = 1e-9


class Paired(NamedTuple):
  """Scores that may be subtracted from each other.

  Attributes:
    scores: scores of all results, float64 [R, N, K]; nan where no result is
      compared.
    right_empty: cells that were given the best score, bool [R, N, K].
    unscored: cells without a number that are not right empties, bool
      [R, N, K].
    absent: names of the classes without a number in any case of any result.
  """

  scores: np.ndarray
  right_empty: np.ndarray
  unscored: np.ndarray
  absent: tuple[str, ...]


def best_score(*, higher_is_better: bool) -> float:
  """Returns the best possible score: 1, or 0 for errors and distances."""
  return 1.0 if higher_is_better else 0.0


def pair(aligned: cases_lib.Aligned, *, metric: str) -> Paired:
  """Gives right empties the best score, and removes cells without a score.

  A cell without a number is not a right empty if the same line of its table has
  an overlap of that class (`Aligned.unproven`), or if another result has an
  overlap above 0 there, since the reference cannot be empty then. Distances
  alone prove nothing where only some of the results have one.

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
  """Returns where a score proves that the reference is not empty, [R, N, K]."""
  if metric_table.TABLE[metric].is_distance:
    # An invented class has a distance, too, even if the reference is empty.
    return np.zeros_like(blank)
  worst = 0.0 if metric_table.TABLE[metric].higher_is_better else 1.0
  return ~blank & (np.abs(np.where(blank, worst, scores) - worst) > _TIE)


def case_scores(paired: Paired) -> np.ndarray:
  """Returns the mean score over the foreground classes, float64 [R, N]."""
  return metrics_lib.mean_of_counted(paired.scores, axis=-1)


def fill_one_sided(
    first: np.ndarray, second: np.ndarray, *, higher_is_better: bool
) -> tuple[np.ndarray, np.ndarray]:
  """Fills in the best score where only the other result has a number."""
  best = best_score(higher_is_better=higher_is_better)
  fill = lambda x, other: np.where(np.isnan(x) & ~np.isnan(other), best, x)
  return fill(first, second), fill(second, first)
