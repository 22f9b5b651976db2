"""Tests for experiments.tables.paired: which of two results is better?"""

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import metrics
import numpy as np

from experiments.tables import cases
from experiments.tables import paired
from experiments.tables import right_empty


def _simulate(rng, *, num_subjects, per_subject, effect=0.0, shared=1.0):
  """Returns random score differences of cases, and the subject of each case.

  A difference is `effect` plus noise of the case plus noise that all cases of
  the subject share; `shared` is the standard deviation of the latter.
  """
  groups = np.repeat(np.arange(num_subjects), per_subject)
  noise = rng.normal(size=len(groups))
  return effect + noise + shared * rng.normal(size=num_subjects)[groups], groups


def _compare(aligned, *, metric):
  return paired.compare(
      aligned, right_empty.pair(aligned, metric=metric), metric=metric)


def _aligned(*scores, groups=None, **changes):
  """Returns aligned results from scores, each [N] for one class or [N, K]."""
  scores = np.array(scores, np.float64)
  scores = scores[..., None] if scores.ndim == 2 else scores
  number = scores.shape[1]
  return cases.Aligned(
      names=tuple('ABCDEFGH'[: len(scores)]),
      ids=tuple(f'{i:03d}' for i in range(number)),
      subjects=('s',) * number,
      groups=np.arange(number) if groups is None else groups,
      classes=tuple(f'c{k}' for k in range(scores.shape[2])),
      scores=scores,
      num_left_out=(0,) * len(scores),
      classes_left_out=((),) * len(scores),
  )._replace(**changes)


class IntervalTest(parameterized.TestCase):

  def test_one_case_per_subject_is_the_plain_bootstrap(self):
    values = np.random.default_rng(0).random(37)
    values[3] = np.nan
    np.testing.assert_allclose(
        metrics.bootstrap_interval(values, groups=np.arange(37)),
        metrics.bootstrap_interval(values), rtol=1e-12)

  def test_by_hand(self):
    # One subject has 3 cases with mean 0, the other has 1 case of value 1. The
    # mean of a resample is 0, 1/4 or 1, with probabilities 1/4, 1/2 and 1/4.
    values, groups = np.array([0, 0, 0, 1.0]), np.array([0, 0, 0, 1])
    self.assertEqual(metrics.bootstrap_interval(values, groups=groups), (0, 1))
    self.assertEqual(
        metrics.bootstrap_interval(values, groups=groups, level=0.2),
        (0.25, 0.25))

  def test_many_cases_of_a_subject_widen_it(self):
    rng = np.random.default_rng(0)
    values, groups = _simulate(rng, num_subjects=20, per_subject=10)
    width = lambda g: np.diff(metrics.bootstrap_interval(values, groups=g))[0]
    self.assertGreater(width(groups), 2 * width(np.arange(200)))

  def test_one_subject(self):
    # A resample of a single subject is always the same, so the interval has
    # width 0, and the comparison must refuse a verdict.
    low, high = metrics.bootstrap_interval(
        np.array([.1, .2]), groups=np.zeros(2, int))
    self.assertEqual(low, high)
    report = _compare(
        _aligned([0, 0], [.1, .2], groups=np.zeros(2, int)), metric='dice')
    self.assertEqual(report['pairs'][0]['verdict'], 'cannot tell')

  def test_coverage(self):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
      values, groups = _simulate(rng, num_subjects=40, per_subject=4)
      low, high = metrics.bootstrap_interval(
          values, groups=groups, num_resamples=400)
      covered.append(low <= 0 <= high)
    # The nominal coverage is 95 %. The bounds allow three standard errors, and
    # the lower coverage of a bootstrap with only 40 subjects.
    self.assertBetween(np.mean(covered), 0.90, 0.99)

  def test_wilcoxon_by_hand(self):
    # For 1, 2, 3, all signs are positive, as in 1 of the 8 choices of signs;
    # the other tail adds another one, so p is 2 / 8.
    nan = float('nan')
    for values, p in (
        ([1, 2, 3, nan, 0], 2 / 8), ([1, -2, 3], 6 / 8), ([0, nan], 1)):
      self.assertAlmostEqual(paired.wilcoxon_p_value(np.array(values)), p)

  def test_large_tables_in_pieces(self):
    values = np.random.default_rng(0).random(5000)
    low, high = metrics.bootstrap_interval(values, groups=np.arange(5000))
    self.assertBetween(values.mean(), low, high)
    self.assertLess(high - low, 4.5 * values.std() / 5000 ** 0.5)

  def test_nothing_counts(self):
    low, _ = metrics.bootstrap_interval(np.full(3, np.nan), groups=np.arange(3))
    self.assertTrue(np.isnan(low))
    self.assertTrue(np.isnan(
        paired.sign_flip_p_value(np.full(3, np.nan), np.arange(3))))


class PValueTest(absltest.TestCase):

  def test_by_hand(self):
    p_value = lambda x: paired.sign_flip_p_value(
        np.array(x), np.arange(len(x)))
    # Of the 8 choices of signs, 2 give a sum as far from 0 as 1 + 2 + 3.
    self.assertEqual(p_value([1.0, 2.0, 3.0]), 2 / 8)
    # The sums -1 + 2 + 3 and 1 + 2 + 3 are at least 4, and so are their
    # absolute values if all signs are flipped: 4 of the 8 choices.
    self.assertEqual(p_value([-1.0, 2.0, 3.0]), 4 / 8)
    self.assertEqual(p_value([0.0, 0.0]), 1)
    # The observed signs must count as extreme in spite of rounding: in floating
    # point, 0.1 + 0.2 is not 0.3.
    self.assertEqual(p_value([0.1, 0.2, -0.3]), 1)

  def test_uniform_without_effect(self):
    rng = np.random.default_rng(0)
    p_values = np.sort([
        paired.sign_flip_p_value(
            *_simulate(rng, num_subjects=20, per_subject=3), num_flips=199)
        for _ in range(300)])
    # The bound of the Kolmogorov-Smirnov test at the level 1 % is
    # 1.63 / sqrt(300) = 0.094; the p-values are multiples of 1 / 200.
    self.assertLess(
        np.abs(p_values - (np.arange(300) + 0.5) / 300).max(), 0.1)
    self.assertLess(np.mean(p_values <= 0.05), 0.09)

  def test_small_with_effect(self):
    rng = np.random.default_rng(0)
    values, groups = _simulate(
        rng, num_subjects=30, per_subject=3, effect=1.5)
    self.assertLess(paired.sign_flip_p_value(values, groups), 0.001)

  def test_copies_of_a_case_are_no_evidence(self):
    values = np.array([1.0, 2.0, 3.0])
    self.assertEqual(
        paired.sign_flip_p_value(
            np.repeat(values, 50), np.repeat(np.arange(3), 50)), 2 / 8)

  def test_exact_and_random_agree(self):
    values = np.random.default_rng(1).normal(0.3, 1, 12)
    exact = paired.sign_flip_p_value(values, np.arange(12))
    more = np.append(values, 0.0)  # The 13th is neutral.
    self.assertAlmostEqual(
        exact, paired.sign_flip_p_value(more, np.arange(13)), delta=0.02)

  def test_holm(self):
    np.testing.assert_allclose(
        paired.holm([0.01, 0.04, 0.03, 0.5]), [0.04, 0.09, 0.09, 0.5])
    self.assertEqual(paired.holm([0.9, 0.8]), [1, 1])
    self.assertEqual(paired.holm([0.2]), [0.2])


class CompareTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.groups = np.arange(90) // 3
    self.first = rng.uniform(0.3, 0.8, 90)
    self.second = self.first + 0.05 + 0.02 * rng.normal(size=90)

  def pair(self, *scores, metric='dice', groups=None):
    groups = self.groups if groups is None else groups
    report = _compare(_aligned(*scores, groups=groups), metric=metric)
    return report['pairs'][0]

  @parameterized.parameters(('dice', 'second', 'B'), ('hd95', 'first', 'A'))
  def test_direction(self, metric, verdict, better):
    pair = self.pair(self.first, self.second, metric=metric)
    self.assertEqual(pair['verdict'], verdict)
    self.assertStartsWith(pair['words'], f'{better} is better than ')
    self.assertAlmostEqual(
        pair['difference'], np.mean(self.second - self.first))
    self.assertRegex(
        pair['words'], r'by 0\.0497\d* \(0\.045\d* to 0\.05\d*\), p')
    self.assertEqual(pair['wins'] > 80, metric == 'dice')
    self.assertEqual(pair['wins'] + pair['ties'] + pair['losses'], 90)

  def test_swap(self):
    one = self.pair(self.first, self.second)
    other = self.pair(self.second, self.first)
    self.assertAlmostEqual(one['difference'], -other['difference'])
    np.testing.assert_allclose(
        one['interval_95'], -np.array(other['interval_95'])[::-1])
    self.assertEqual((one['p'], one['wins'], one['losses']),
                     (other['p'], other['losses'], other['wins']))
    self.assertEqual(
        one['words'].replace('A', 'x').replace('B', 'A').replace('x', 'B'),
        other['words'])

  def test_no_effect(self):
    noise = np.random.default_rng(1).normal(0, 0.02, 90)
    pair = self.pair(self.first, self.first + noise - noise.mean() / 2)
    self.assertEqual(pair['verdict'], 'cannot tell')
    self.assertStartsWith(pair['words'], 'The data cannot tell A and B apart')

  def test_same_result_twice(self):
    pair = self.pair(self.first, self.first)
    self.assertEqual(pair['difference'], 0)
    self.assertEqual(pair['interval_95'], [0, 0])
    self.assertEqual((pair['p'], pair['ties']), (1, 90))
    self.assertEqual(
        pair['words'], 'A and B score the same on all common cases, 90.')

  def test_few_subjects_can_never_tell(self):
    scores = np.arange(5) / 10
    pair = self.pair(scores, scores + 0.1, groups=np.arange(5))
    self.assertEqual(pair['verdict'], 'cannot tell')
    self.assertIn('With 5 subjects, no p below 0.062', pair['words'])

  def test_no_case_counts_in_both(self):
    pair = self.pair([np.nan, 1], [1, np.nan], groups=np.arange(2))
    self.assertIsNone(pair['difference'])
    self.assertEqual(pair['num_unscored'], 2)
    self.assertEqual(pair['verdict'], 'cannot tell')
    self.assertStartsWith(pair['words'], 'No verdict on A and B: 2 cases')
    pair = self.pair([np.nan, np.nan], [np.nan, np.nan], groups=np.arange(2))
    self.assertEqual((pair['num_unscored'], pair['num_cases']), (0, 0))
    self.assertEqual(pair['verdict'], 'cannot tell')

  def test_pairs(self):
    self.assertEqual(paired.choose_pairs(3), [(0, 1), (0, 2), (1, 2)])
    self.assertEqual(paired.choose_pairs(5), [(0, i) for i in range(1, 5)])

  def test_holm_over_pairs(self):
    scores = [self.first + 0.001 * i for i in range(3)]
    report = _compare(
        _aligned(*scores, groups=self.groups), metric='dice')
    for pair in report['pairs']:
      self.assertAlmostEqual(pair['p_holm'], 3 * pair['p'])

  def test_warnings(self):
    aligned = _aligned(
        self.first, self.second, groups=self.groups, subjects=('',) * 90,
        num_left_out=(0, 4), classes_left_out=((), ('x',)))
    lines = paired.warnings(aligned, _compare(aligned, metric='dice'))
    self.assertLen(lines, 3)
    self.assertEqual(
        lines[0], 'B: another result lacks 4 cases: left out.')
    self.assertIn("classes 'x'", lines[1])
    self.assertStartsWith(lines[2], 'No case names its subject')
    aligned = _aligned(self.first[:9], self.second[:9])
    lines = paired.warnings(aligned, _compare(aligned, metric='dice'))
    self.assertEqual(lines, ['Only 9 subjects: intervals are too short.'])


if __name__ == '__main__':
  absltest.main()
