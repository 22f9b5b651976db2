"""Computes means, intervals and differences of methods over several seeds.

The scores of a method are an array, float [S, N], for S runs with different
seeds on the same N cases; a score is nan where the case does not count. If a
case counts for only one of two methods, the other one rightly found nothing
there, and gets the best score in their difference: see `right_empty`. Seeds and
subjects are crossed: every run is tested on every subject.
"""

from collections.abc import Sequence
from typing import NamedTuple

from hybridseg import metrics as metrics_lib
import numpy as np

from experiments.tables import paired
from experiments.tables import right_empty

_LEVEL = 0.95
_mean = metrics_lib.mean_of_counted


class Description(NamedTuple):
  """The statistics of one method.

  Attributes:
    by_seed: for each seed, the mean over its cases, float [S].
    mean: mean over the seeds.
    sd: sample standard deviation over the seeds; nan for a single seed.
    interval: 95 % interval over seeds and subjects.
  """

  by_seed: np.ndarray
  mean: float
  sd: float
  interval: tuple[float, float]


class Difference(NamedTuple):
  """The difference of a method to the reference method, on their common seeds.

  Attributes:
    num_seeds: number of seeds that both methods have.
    mean: mean of method - reference, over seeds and cases.
    interval: 95 % interval of the mean, over seeds and subjects.
    p: p-value of a permutation test that flips the sign of whole subjects,
      after the difference of each case was averaged over the seeds.
    p_holm: the same p-value, adjusted for all methods compared on this set
      (Holm).
    p_cases_holm: p-value of Wilcoxon's signed-rank test of the cases, averaged
      and adjusted in the same way. It is too small if subjects have several
      cases.
  """

  num_seeds: int
  mean: float
  interval: tuple[float, float]
  p: float
  p_holm: float
  p_cases_holm: float


def describe(scores: np.ndarray, groups: np.ndarray) -> Description:
  """Returns the statistics of one method.

  Args:
    scores: scores of all seeds, float [S, N].
    groups: index of each case's subject, int [N].
  """
  by_seed = _mean(scores, axis=1)
  return Description(
      by_seed, float(np.mean(by_seed)),
      float(np.std(by_seed, ddof=1)) if len(by_seed) > 1 else float('nan'),
      bootstrap_interval(scores, groups))


def bootstrap_interval(
    scores: np.ndarray,
    groups: np.ndarray,
    *,
    minus: np.ndarray | None = None,
    level: float = _LEVEL,
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
  """Returns the percentile interval of the mean over seeds and subjects.

  Each resample draws, with replacement, S of the S seeds and U of the U
  subjects with all their cases. The subjects are the same for all seeds of the
  resample. Its value is the mean over the drawn seeds of the mean over the
  drawn cases. Since seeds and subjects are crossed, this is the pigeonhole
  bootstrap: Owen, 2007 (https://doi.org/10.1214/07-AOAS122).

  With few seeds the interval is too short: the part of its length that is due
  to the seeds is too small by a factor of about sqrt((S - 1) / S), and a single
  seed adds nothing.

  Args:
    scores: scores of all seeds, float [S, N].
    groups: index of each case's subject, int [N].
    minus: scores of a second result with T other seeds, float [T, N]; the
      interval is then that of the difference. The subjects of a resample are
      the same for both results, and the seeds are drawn separately.
    level: share of the resamples that lie within the interval.
    num_resamples: number of resamples.
    seed: seed of the resampling.

  Returns:
    Lower and upper end of the interval; nan if no case counts.
  """
  if np.isnan(scores).all():
    return float('nan'), float('nan')
  _, index = np.unique(groups, return_inverse=True)
  rng = np.random.default_rng(seed)
  draw = lambda n: rng.multinomial(n, np.full(n, 1 / n), size=num_resamples)
  seeds, subjects = draw(len(scores)), draw(index.max() + 1)
  means = _resampled_means(scores, index, subjects, seeds)
  if minus is not None:
    means -= _resampled_means(minus, index, subjects, draw(len(minus)))
  tail = (1 - level) / 2
  low, high = np.nanquantile(means, [tail, 1 - tail])
  return float(low), float(high)


def _resampled_means(scores, index, subjects, seeds):
  """Returns the mean over drawn seeds of the mean over drawn cases.

  Args:
    scores: scores of all seeds, float [S, N]; nan where a case does not count.
    index: index of each case's subject, below U, int [N].
    subjects: how often each resample draws each subject, int [R, U].
    seeds: how often each resample draws each seed, int [R, S].

  Returns:
    The mean of each of the R resamples, float [R]; nan if no drawn case counts.
  """
  counted = ~np.isnan(scores)
  per_subject = lambda values: np.array([np.bincount(index, v) for v in values])
  numbers = subjects @ per_subject(counted.astype(float)).T
  sums = subjects @ per_subject(np.where(counted, scores, 0.0)).T
  weights = np.where(numbers > 0, seeds, 0)
  total = weights.sum(axis=1)
  by_seed = sums / np.maximum(numbers, 1)
  return np.sum(weights * by_seed, axis=1) / np.where(total, total, np.nan)


def compare(
    scores: dict[str, np.ndarray],
    seeds: dict[str, Sequence[int]],
    groups: np.ndarray,
    *,
    reference: str,
) -> dict[str, Difference]:
  """Compares each method with the reference, seed by seed and case by case.

  Args:
    scores: maps each method to its scores, float [S, N]. Higher is better, and
      the best score is 1.
    seeds: maps each method to its S seeds.
    groups: index of each case's subject, int [N].
    reference: the method that all others are compared with.

  Returns:
    A dict that maps each method to its difference from the reference. It leaves
    out the reference itself, and methods without a common seed or without a
    case that counts.
  """
  found, p_cases = {}, []
  for method in scores:
    if method == reference or reference not in scores:
      continue
    common = [s for s in seeds[method] if s in seeds[reference]]
    rows = lambda m, common=common: scores[m][[
        list(seeds[m]).index(s) for s in common]]
    ours, theirs = right_empty.fill_one_sided(
        rows(method), rows(reference), higher_is_better=True)
    change = ours - theirs
    if np.isnan(change).all():  # Also true without a common seed.
      continue
    by_case = _mean(change, axis=0)
    found[method] = Difference(
        len(common), float(np.mean(_mean(change, axis=1))),
        bootstrap_interval(change, groups),
        paired.sign_flip_p_value(by_case, groups), float('nan'), float('nan'))
    p_cases.append(paired.wilcoxon_p_value(by_case))
  by_subject = paired.holm([d.p for d in found.values()])
  return {m: d._replace(p_holm=p, p_cases_holm=q) for (m, d), p, q in zip(
      found.items(), by_subject, paired.holm(p_cases), strict=True)}
