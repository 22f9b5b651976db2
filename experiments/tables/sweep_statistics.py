"""Means, intervals and paired differences of methods over seeds and subjects.

Scores are float [S, N]: of S seeds on the same N cases, nan where a case does
not count. In a difference, a case that counts in one method only is a right
empty of the other, and has the best score there: see `right_empty`. Seeds and
subjects are crossed: every seed is tested on every subject.
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
  """What is known of one method.

  Attributes:
    by_seed: mean over the cases of each seed, float [S].
    mean: over the seeds.
    sd: sample standard deviation over the seeds; nan of one seed.
    interval: 95 %, over seeds and subjects.
  """

  by_seed: np.ndarray
  mean: float
  sd: float
  interval: tuple[float, float]


class Difference(NamedTuple):
  """What a method has more than the reference, on the seeds that both have.

  Attributes:
    num_seeds: that both have.
    mean: of method - reference, over seeds and cases.
    interval: 95 %, over seeds and subjects.
    p: of a paired permutation test by subject, after each case was averaged
      over the seeds.
    p_holm: the same, adjusted for all comparisons of the setting.
    p_cases_holm: of Wilcoxon's signed ranks of the cases, averaged and adjusted
      the same way; too sure where a subject has several cases.
  """

  num_seeds: int
  mean: float
  interval: tuple[float, float]
  p: float
  p_holm: float
  p_cases_holm: float


def describe(scores: np.ndarray, groups: np.ndarray) -> Description:
  """Summarizes one method.

  Args:
    scores: float [S, N].
    groups: number of the subject of each case, int [N].
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
    num_resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
  """Returns the 95 % percentile interval of the mean over seeds and subjects.

  Each resample draws S seeds, then as many subjects as there are, with all
  their cases and the same for all seeds drawn; its value is the mean over its
  seeds of the mean over its cases. As seeds and subjects are crossed, this is
  the pigeonhole bootstrap: Owen, 2007 (https://doi.org/10.1214/07-AOAS122).

  Few seeds are drawn from few: with S seeds, what they add to the interval is
  too short by about sqrt((S - 1) / S); of one seed it is nothing.

  Args:
    scores: float [S, N].
    groups: number of the subject of each case, int [N].
    num_resamples: number of resamples.
    seed: of the resampling.

  Returns:
    Lower and upper end; nan if no case counts.
  """
  if np.isnan(scores).all():
    return float('nan'), float('nan')
  _, index = np.unique(groups, return_inverse=True)
  rng = np.random.default_rng(seed)
  draw = lambda n: rng.multinomial(n, np.full(n, 1 / n), size=num_resamples)
  seeds, subjects = draw(len(scores)), draw(index.max() + 1)
  means = resampled_means(scores, index, subjects, seeds)
  tail = (1 - _LEVEL) / 2
  low, high = np.nanquantile(means, [tail, 1 - tail])
  return float(low), float(high)


def resampled_means(
    scores: np.ndarray,
    index: np.ndarray,
    subjects: np.ndarray,
    seeds: np.ndarray,
) -> np.ndarray:
  """Returns the mean over drawn seeds of the mean over drawn cases.

  Args:
    scores: float [S, N]; nan where a case does not count.
    index: number of the subject of each case, below U, int [N].
    subjects: how often each is drawn, int [R, U].
    seeds: how often each is drawn, int [R, S].

  Returns:
    float [R]; nan where nothing drawn counts.
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
    scores: by method, float [S, N], of which more is better, at most 1.
    seeds: by method, S seeds.
    groups: number of the subject of each case, int [N].
    reference: a method.

  Returns:
    By method; without the reference itself, and without methods that have no
    seed, or no case that counts, in common with it.
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
    if np.isnan(change).all():  # So it is without a seed in common.
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
