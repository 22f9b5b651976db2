"""Tests for experiments.tables.sweep_statistics."""

from absl.testing import absltest
from hybridseg import metrics
import numpy as np

from experiments.tables import sweep_statistics

_NAN = float('nan')


class DescribeTest(absltest.TestCase):

  def test_by_hand(self):
    found = sweep_statistics.describe(
        np.array([[.2, .4, _NAN], [.4, .6, .8]]), np.arange(3))
    np.testing.assert_allclose(found.by_seed, [.3, .6])
    self.assertAlmostEqual(found.mean, .45)
    self.assertAlmostEqual(found.sd, .3 / 2**.5)

  def test_one_seed_has_no_spread(self):
    found = sweep_statistics.describe(np.array([[.2, .4]]), np.arange(2))
    self.assertAlmostEqual(found.mean, .3)
    self.assertTrue(np.isnan(found.sd))


class IntervalTest(absltest.TestCase):

  def test_all_resamples_by_hand(self):
    # With 2 seeds and 2 subjects, a resample consists of one cell drawn four
    # times with a probability of 1/16. As this exceeds 2.5 %, the interval ends
    # at the smallest and the largest cell.
    low, high = sweep_statistics.bootstrap_interval(
        np.array([[.4, .1], [.9, .5]]), np.arange(2))
    self.assertAlmostEqual(low, .1)
    self.assertAlmostEqual(high, .9)

  def test_no_spread(self):
    low, high = sweep_statistics.bootstrap_interval(
        np.full((3, 7), .25), np.arange(7) // 2)
    self.assertAlmostEqual(low, .25)
    self.assertAlmostEqual(high, .25)

  def test_seeds_alone(self):
    # Both cases belong to one subject and stay together in every resample, so
    # only the seeds vary.
    low, high = sweep_statistics.bootstrap_interval(
        np.array([[0., .4], [.4, .8]]), np.zeros(2, int))
    self.assertAlmostEqual(low, .2)
    self.assertAlmostEqual(high, .6)

  def test_one_seed_is_the_interval_over_subjects(self):
    rng = np.random.default_rng(0)
    scores, groups = rng.random(60), np.repeat(np.arange(20), 3)
    scores[::7] = _NAN
    np.testing.assert_allclose(
        sweep_statistics.bootstrap_interval(scores[None], groups),
        metrics.bootstrap_interval(scores, groups=groups), atol=0.01)

  def test_nothing_counts(self):
    low, _ = sweep_statistics.bootstrap_interval(
        np.full((2, 2), _NAN), np.arange(2))
    self.assertTrue(np.isnan(low))

  def test_holds_the_truth_as_often_as_it_says(self):
    # The scores have random effects of 8 seeds and of 30 subjects, which have
    # two cases each.
    rng = np.random.default_rng(0)
    groups, inside = np.repeat(np.arange(30), 2), []
    for i in range(150):
      scores = (.5 + .05 * rng.normal(size=(8, 1))
                + .1 * rng.normal(size=30)[groups]
                + .05 * rng.normal(size=(8, 60)))
      low, high = sweep_statistics.bootstrap_interval(
          scores, groups, num_resamples=300, seed=i)
      inside.append(low <= .5 <= high)
    self.assertBetween(np.mean(inside), 0.86, 0.99)


class CompareTest(absltest.TestCase):

  def compare(self, **changes):
    return sweep_statistics.compare(**{
        'scores': {
            'ours': np.array([[.5, .5, .5], [.6, .6, .6]]),
            'old': np.array([[.4, .4, .2], [.4, .4, .6]]),
            'same': np.array([[.5, .5, .5]])},
        'seeds': {'ours': (0, 1), 'old': (1, 0), 'same': (0,)},
        'groups': np.arange(3), 'reference': 'ours'} | changes)

  def test_by_hand(self):
    found = self.compare()
    self.assertEqual([*found], ['old', 'same'])
    old = found['old']
    # The scores of the old method are .4, .4, .6 for seed 0 and .4, .4, .2 for
    # seed 1; those of the reference are .5 and .6 in every case.
    self.assertAlmostEqual(old.mean, (-.1 / 3 - .8 / 3) / 2)
    self.assertEqual(old.num_seeds, 2)
    # The differences, averaged over seeds, are -.15 in all three cases. Of the
    # 8 choices of signs, 2 give a mean that is as far from 0.
    self.assertAlmostEqual(old.p, .25)
    self.assertAlmostEqual(old.p_holm, .5)
    self.assertEqual(found['same'].num_seeds, 1)
    self.assertEqual(found['same'].mean, 0)
    self.assertEqual(found['same'].interval, (0, 0))
    self.assertEqual(found['same'].p_holm, 1)

  def test_cases_of_a_subject_flip_together(self):
    found = self.compare(groups=np.zeros(3, int))
    self.assertEqual(found['old'].p, 1)

  def test_without_the_reference(self):
    self.assertEqual(self.compare(reference='none of them'), {})

  def test_without_a_common_seed(self):
    found = self.compare(
        seeds={'ours': (0, 1), 'old': (2, 3), 'same': (1,)})
    self.assertEqual([*found], ['same'])


if __name__ == '__main__':
  absltest.main()
