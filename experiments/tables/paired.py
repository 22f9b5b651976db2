"""Compares results pair by pair, on the cases that they share.

Cases of one subject resemble each other. Therefore intervals resample whole
subjects, and permutation tests flip the sign of whole subjects. A class that is
in neither prediction nor reference counts with the best possible score: see
`experiments.tables.right_empty`.
"""

from collections.abc import Sequence
import itertools
from typing import Any

from hybridseg import metrics as metrics_lib
import numpy as np

from data_prep.shared import grammar
from experiments.evaluation import metric_table
from experiments.tables import cases as cases_lib
from experiments.tables import right_empty

_LEVEL = 0.95
# Scores that differ by less than this count as equal, because means of equal
# numbers may differ by rounding.
_TIE = 1e-9
# With at most this many subjects, the permutation test counts all 2 ** n ways
# to flip their signs.
_MAX_EXACT_SUBJECTS = 12
# With fewer subjects than this, bootstrap intervals are known to be too short:
# see experiments/results/planning.md.
_FEW_SUBJECTS = 20
# With at most this many results, all pairs are compared. With more, each result
# is compared with the first only.
_MAX_ALL_PAIRS = 4
_CELLS = 4_000_000  # Largest number of elements of a temporary array.


def subject_sums(
    values: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the sum and the count of each subject's values.

  Args:
    values: one number per case, float [N]; nan cases are left out.
    groups: index of each case's subject, int [N].

  Returns:
    The sums and the counts, [G] each, for the G subjects that have at least one
    value, in the order of their numbers.
  """
  counted = ~np.isnan(values)
  _, index = np.unique(groups[counted], return_inverse=True)
  return np.bincount(index, values[counted]), np.bincount(index)


def sign_flip_p_value(
    differences: np.ndarray,
    groups: np.ndarray,
    *,
    num_flips: int = 9999,
) -> float:
  """Returns the two-sided p-value of a paired permutation test.

  If neither result is better, all differences of a subject are as likely to
  have the opposite sign. p is the share of the ways to choose these signs for
  which the sum of all differences is at least as far from 0 as the observed
  sum. With up to 12 subjects all ways are counted, else `num_flips` random ones
  and the observed one.

  Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010
  (https://doi.org/10.2202/1544-6115.1585).

  Args:
    differences: one number per case, float [N]; nan cases are left out.
    groups: index of each case's subject, int [N].
    num_flips: number of random flips.

  Returns:
    p in (0, 1]; nan if all cases are nan.
  """
  sums, _ = subject_sums(differences, groups)
  if not sums.size:
    return float('nan')
  # Allow for rounding: sums that equal the observed one must count as well.
  least = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
  if sums.size <= _MAX_EXACT_SUBJECTS:
    signs = np.array([*itertools.product((-1, 1), repeat=sums.size)])
    return float(np.mean(np.abs(signs @ sums) >= least))
  rng = np.random.default_rng(0)
  as_far = 1
  for size in _chunks(num_flips, sums.size):
    signs = 2 * rng.integers(2, size=(size, sums.size)) - 1
    as_far += int(np.sum(np.abs(signs @ sums) >= least))
  return as_far / (num_flips + 1)


def wilcoxon_p_value(differences: np.ndarray) -> float:
  """Returns the two-sided p-value of Wilcoxon's signed-rank test.

  Wilcoxon, "Individual comparisons by ranking methods", 1945
  (https://doi.org/10.2307/3001968), computed by `scipy.stats.wilcoxon`.
  Differences of 0 are left out. The test assumes that all cases are
  independent. If subjects have several cases, its p-values are too small: rely
  on `sign_flip_p_value` then.

  Args:
    differences: one number per case, float [N]; nan cases are left out.

  Returns:
    p in (0, 1]; 1 if no difference is left.
  """
  from scipy import stats  # Slow to import.

  left = differences[~np.isnan(differences) & (differences != 0)]
  return float(stats.wilcoxon(left).pvalue) if len(left) else 1.0


def least_p(num_subjects: int) -> float:
  """Returns the smallest p-value that is possible if all flips are counted."""
  return 2.0 ** (1 - num_subjects)


def _chunks(total, width):
  """Divides the rows of a large array into chunks, to limit memory use.

  Yields:
    The number of rows of each chunk. The numbers sum to `total`. A chunk of
    `width` columns has at most `_CELLS` elements, or a single row.
  """
  rows = max(1, _CELLS // width)
  for start in range(0, total, rows):
    yield min(rows, total - start)


def holm(p_values: Sequence[float]) -> list[float]:
  """Returns p-values adjusted for their number, in the given order.

  Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979
  (https://www.jstor.org/stable/4615733).
  """
  order = np.argsort(p_values, kind='stable')
  number = len(order)
  steps = [(number - i) * p_values[o] for i, o in enumerate(order)]
  adjusted = np.empty(number)
  adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
  return adjusted.tolist()


def choose_pairs(number: int) -> list[tuple[int, int]]:
  """Returns which results to compare, as pairs of their indices.

  With up to four results, these are all pairs. With more, the first result is
  paired with each of the others.

  Args:
    number: number of results.
  """
  if number <= _MAX_ALL_PAIRS:
    return [*itertools.combinations(range(number), 2)]
  return [(0, i) for i in range(1, number)]


def compare_scores(
    first: np.ndarray,
    second: np.ndarray,
    groups: np.ndarray,
    *,
    higher_is_better: bool,
) -> dict[str, Any]:
  """Compares two results case by case.

  Args:
    first: one score per case, float [N]. If only one of the two scores of a
      case is nan, prediction and reference are both empty there, and nan counts
      as the best score. If both are nan, the case is not compared.
    second: scores of the other result, float [N].
    groups: index of each case's subject, int [N].
    higher_is_better: whether a case with a higher score is a win.

  Returns:
    The mean of second - first with its interval, both None if no case is
    compared; the wins, ties and losses of the second result; and the numbers of
    cases and subjects that are compared.
  """
  first, second = right_empty.fill_one_sided(
      first, second, higher_is_better=higher_is_better)
  difference = second - first
  counted = ~np.isnan(difference)
  gain = difference[counted] if higher_is_better else -difference[counted]
  return {
      'difference': _mean(difference),
      'interval_95': _interval(difference, groups),
      'wins': int(np.sum(gain > _TIE)),
      'ties': int(np.sum(np.abs(gain) <= _TIE)),
      'losses': int(np.sum(gain < -_TIE)),
      'num_cases': int(counted.sum()),
      'num_subjects': len(np.unique(groups[counted])),
  }


def _mean(values):
  values = values[~np.isnan(values)]
  return float(values.mean()) if values.size else None


def _interval(values, groups):
  counts = not np.isnan(values).all()
  if not counts:
    return None
  return list(metrics_lib.bootstrap_interval(values, groups=groups))


def compare(
    aligned: cases_lib.Aligned, paired: right_empty.Paired, *, metric: str
) -> dict[str, Any]:
  """Compares results pair by pair.

  Args:
    aligned: two or more results.
    paired: their scores from `right_empty.pair`.
    metric: a key of `metric_table.TABLE`.

  Returns:
    A tree of plain numbers and sentences, for JSON: the scores of each result
    in `results`, the comparisons in `pairs`, and the cases, subjects and
    classes that were compared.
  """
  higher = metric_table.TABLE[metric].higher_is_better
  groups, scores = aligned.groups, right_empty.case_scores(paired)
  pairs = []
  for a, b in choose_pairs(len(scores)):
    pair = compare_scores(scores[a], scores[b], groups, higher_is_better=higher)
    pair['first'], pair['second'] = aligned.names[a], aligned.names[b]
    pair['num_unscored'] = int(np.any(
        paired.unscored[a] != paired.unscored[b], axis=-1).sum())
    pair['p'] = 1.0  # The p-value if no case is compared.
    if pair['num_cases']:
      pair['p'] = sign_flip_p_value(scores[b] - scores[a], groups)
    pair['per_class'] = {
        name: compare_scores(
            paired.scores[a, :, c], paired.scores[b, :, c], groups,
            higher_is_better=higher)
        for c, name in enumerate(aligned.classes)}
    pairs.append(pair)
  adjusted = holm([pair['p'] for pair in pairs])
  for pair, p_holm in zip(pairs, adjusted, strict=True):
    pair['p_holm'] = p_holm
    pair['verdict'], pair['words'] = judge(pair, higher_is_better=higher)
  return {
      'metric': metric,
      'higher_is_better': higher,
      'num_cases': len(aligned.ids),
      'num_subjects': len(np.unique(groups)),
      'classes': list(aligned.classes),
      'classes_absent': list(paired.absent),
      'results': [
          _describe(aligned, paired, r) for r in range(len(scores))],
      'pairs': pairs,
  }


def _describe(aligned, paired, r):
  alone = metrics_lib.mean_of_counted(aligned.scores[r], axis=-1)
  scores = right_empty.case_scores(paired)[r]
  return {
      'name': aligned.names[r],
      'paired_mean': _mean(scores),
      'paired_interval_95': _interval(scores, aligned.groups),
      'num_right_empty': int(paired.right_empty[r].sum()),
      'mean': _mean(alone),
      'interval_95': _interval(alone, aligned.groups),
      'num_cases_counted': int(np.sum(~np.isnan(alone))),
      'num_left_out': aligned.num_left_out[r],
      'classes_left_out': list(aligned.classes_left_out[r]),
  }


def judge(
    pair: dict[str, Any], *, higher_is_better: bool
) -> tuple[str, str]:
  """Judges which result of a pair is better.

  A result is better only if the p-value, adjusted by Holm's method, is at most
  0.05 and the interval excludes 0: the two rest on different approximations,
  and must agree. There is no verdict if one result lacks a score that the other
  has, unless the class is absent from prediction and reference in that result.

  Args:
    pair: comparison of two results, from `compare`.
    higher_is_better: whether a higher score is better.

  Returns:
    'first', 'second', 'same' or 'cannot tell', and a sentence that explains it.
  """
  first, second = pair['first'], pair['second']
  if pair.get('num_unscored'):
    return 'cannot tell', (
        f'No verdict on {first} and {second}: '
        f'{grammar.counted(pair["num_unscored"], "case", "have")} a score in '
        'one of them only, and not because a class is in neither mask. '
        'Evaluate both in the same way.')
  if not pair['num_cases']:
    return 'cannot tell', (
        f'No case counts in both {first} and {second}: the data cannot tell.')
  if pair['ties'] == pair['num_cases']:
    return 'same', (
        f'{first} and {second} score the same on all common cases, '
        f'{pair["ties"]}.')
  difference, (low, high) = pair['difference'], pair['interval_95']
  p = f'p = {pair["p_holm"]:.2g}'
  if pair['p_holm'] <= 1 - _LEVEL + 1e-12 and (low > 0 or high < 0):
    is_second = (difference > 0) == higher_is_better
    better, worse = (second, first) if is_second else (first, second)
    low, high = sorted((abs(low), abs(high)))
    return 'second' if is_second else 'first', (
        f'{better} is better than {worse} by {abs(difference):.4g} ({low:.4g} '
        f'to {high:.4g}), {p}.')
  words = (
      f'The data cannot tell {first} and {second} apart: {second} - {first} = '
      f'{difference:.4g} ({low:.4g} to {high:.4g}), {p}.')
  return 'cannot tell', words + _limits(pair)


def _limits(pair):
  """Returns a sentence if the subjects are too few for any verdict, else ''."""
  smallest = least_p(pair['num_subjects'])
  if smallest > 1 - _LEVEL:
    return (f' With {grammar.counted(pair["num_subjects"], "subject")}, no p '
            f'below {smallest:.2g} is possible.')
  return ''


def warnings(aligned: cases_lib.Aligned, report: dict[str, Any]) -> list[str]:
  """Returns warnings about a comparison, one sentence each.

  Args:
    aligned: the results that were compared.
    report: report of `compare`.
  """
  lines = []
  for result in report['results']:
    if result['num_left_out']:
      lines.append(
          f'{result["name"]}: another result lacks '
          f'{grammar.counted(result["num_left_out"], "case")}: left out.')
    if result['classes_left_out']:
      lines.append(
          f'{result["name"]}: left out, another result lacks them: classes '
          f'{", ".join(map(repr, result["classes_left_out"]))}.')
  best = right_empty.best_score(higher_is_better=report['higher_is_better'])
  for result in report['results']:
    if result['num_right_empty']:
      lines.append(
          f'{result["name"]}: {result["num_right_empty"]} times a class is in '
          f'neither mask, which counts as {best:g} in all paired numbers, and '
          'not in the mean of the result alone.')
  if report['classes_absent']:
    lines.append(
        'In no mask of any case, and not compared: classes '
        f'{", ".join(map(repr, report["classes_absent"]))}.')
  if not any(aligned.subjects):
    lines.append('No case names its subject: each counts as its own. If some '
                 'share one, the intervals are too short.')
  if report['num_subjects'] < _FEW_SUBJECTS:
    lines.append(
        f'Only {grammar.counted(report["num_subjects"], "subject")}: intervals '
        'are too short.')
  return lines
