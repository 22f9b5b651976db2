"""Tests for experiments.auditing.ranking: scores, and the number of faults."""

from absl.testing import absltest
from experiments.auditing import planting
from experiments.auditing import ranking
from experiments.auditing import signs as signs_lib
import numpy as np

from tests import audited


class ScoreTest(absltest.TestCase):

  def test_by_hand(self):
    # Without planted faults, the score of a disagreement D is
    # sigmoid(8 D - 4 + prior). The two disagreements are symmetric about 1/2,
    # so the prior is that of a share of 1/2, which is 0.
    scores = ranking.score(audited.evidence([0.375, 0.625]))
    np.testing.assert_allclose(
        scores.score, 1 / (1 + np.exp([1.0, -1.0])), rtol=1e-6)
    np.testing.assert_allclose(scores.low, scores.score)

  def test_learns_from_what_is_planted(self):
    # In this made-up set, the annotations that agree with the prediction are
    # the faulty ones.
    signs = np.zeros((2, 100, len(signs_lib.NAMES)))
    signs[..., 0] = np.linspace(0, 1, 100)
    planted = {2: planting.Planted(signs, np.arange(100) < 50)}
    grid = np.linspace(0, 1, 11)
    scores = ranking.score(audited.evidence(grid, planted=planted)).score
    self.assertTrue(np.all(np.diff(scores) < 0))

  def test_rises_with_the_disagreement(self):
    found = ranking.score(audited.evidence(np.linspace(0, 1, 11)))
    self.assertTrue(np.all(np.diff(found.score) > 0))

  def test_networks_that_differ_widen_the_interval(self):
    scores = ranking.score(
        audited.evidence([0.5, 0.5], spread=np.array([0.05, 0.2])))
    self.assertAlmostEqual(scores.score[0], scores.score[1])
    self.assertLess(scores.low[1], scores.low[0])
    self.assertGreater(scores.high[1], scores.high[0])

  def test_networks_that_find_nothing_stay_finite(self):
    nothing = {n: {2: np.ones(20)} for n in ('strong', 'val')}
    scores = ranking.score(audited.evidence([1.0, 0.9], references=nothing))
    self.assertTrue(np.isfinite(scores.score).all())

  def test_evaluation_by_hand(self):
    scores = ranking.score(audited.evidence([1.0, 0.9, 0.1, 0.5]))
    found = ranking.evaluate(
        scores, np.array(['shifted', '', '', 'missing']),
        ['shifted', 'unclear', 'unclear', 'unclear'], num_first=2)
    self.assertEqual(found['auroc'], 0.75)
    self.assertEqual(found['auroc_by_fault'], {'missing': 0.5, 'shifted': 1.0})
    self.assertEqual(found['precision_of_first'], 0.5)
    self.assertEqual(found['confusion'], {
        'none': {'unclear': 2}, 'shifted': {'shifted': 1},
        'missing': {'unclear': 1}})
    self.assertIsNone(ranking.evaluate(scores, np.array([''] * 4), [''] * 4))


class EstimateTest(absltest.TestCase):

  def test_by_hand(self):
    # The 0.9 quantile of the disagreements of good annotations is 0.45. Of all
    # annotations, 0.4 lie beyond it, but 0.1 of the good ones would, too. The
    # estimated share of faulty ones is thus (0.4 - 0.1) / 0.9 = 1/3.
    found = ranking.estimate_faulty(audited.evidence([0.2] * 60 + [0.9] * 40))
    self.assertAlmostEqual(found['share'], 1 / 3)
    self.assertEqual(found['number'], 33)
    self.assertTrue(found['can_tell'])
    low, high = found['interval']
    self.assertBetween(low, 15, 33)
    self.assertBetween(high, 33, 50)

  def test_all_fine_says_that_it_cannot_tell(self):
    found = ranking.estimate_faulty(audited.evidence(np.linspace(0, 0.5, 200)))
    self.assertFalse(found['can_tell'])
    self.assertEqual(found['number'], 0)
    self.assertEqual(found['interval'][0], 0)
    self.assertIn('cannot tell', found['why'])

  def test_needs_something_to_compare_with(self):
    few = {n: {2: np.zeros(9)} for n in ('strong', 'val')}
    found = ranking.estimate_faulty(
        audited.evidence([1.0] * 10, references=few))
    self.assertIsNone(found['number'])
    self.assertIn('9 exact masks', found['why'])
    found = ranking.estimate_faulty(audited.evidence([]))
    self.assertIn('0 weak annotations', found['why'])


if __name__ == '__main__':
  absltest.main()
