"""Tests for experiments.tables.budget: what to buy, and when not to decide."""

import itertools
import json

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.tables import budget
from experiments.tables import learning_curve
from tests import sweeps

_MINUTES = {'mask': 10.0, 'box': 0.5, 'scribble': 1.0}


def _problem(minutes, budget_minutes, *, room=1e6, have=0.0):
  minutes = np.array(minutes, np.float64)
  full = lambda x: np.broadcast_to(np.float64(x), minutes.shape)
  return budget.Problem(minutes, full(have), full(room), budget_minutes)


def _plan(sweep, **kwargs):
  minutes = {kind: _MINUTES[kind] for kind in sweep.kinds}
  kwargs = {'minutes': minutes, 'budget': 300.0, 'num_fits': 60} | kwargs
  return budget.plan(sweep, **kwargs)


class MixTest(parameterized.TestCase):

  def test_by_hand(self):
    # For 10 minutes, 2 masks (4 minutes each) and 2 boxes (1 minute each) are
    # worth 2.4 masks; 10 boxes are worth only 2.
    mix = budget.best_mix(np.array([1, 0.2]), _problem([4, 1], 10))
    np.testing.assert_array_equal(mix, [2, 2])
    mix = budget.best_mix(np.array([1, 0.3]), _problem([4, 1], 10))
    np.testing.assert_array_equal(mix, [0, 10])
    mix = budget.best_mix(np.array([1, 0.3]), _problem([4, 1], 10, room=6))
    np.testing.assert_array_equal(mix, [1, 6])

  def test_against_all_mixes(self):
    rng = np.random.default_rng(0)
    for _ in range(20):
      worths = np.array([1, *rng.random(2)])
      problem = _problem(rng.uniform(1, 4, 3), 12, room=5)
      mix = budget.best_mix(worths, problem)
      self.assertLessEqual(mix @ problem.minutes, 12 + 1e-6)
      every = np.array([*itertools.product(range(6), repeat=3)])
      every = every[every @ problem.minutes <= 12]
      self.assertAlmostEqual(mix @ worths, (every @ worths).max())

  def test_fractions_of_minutes_are_exact(self):
    # In floating point, 0.3 / 0.1 is 2.9999999999999996.
    np.testing.assert_array_equal(
        budget.single_kind(1, _problem([1, 0.1], 0.3)), [0, 3])

  def test_more_of_the_same(self):
    problem = _problem([10, 1], 55, have=0)._replace(have=np.array([2.0, 13]))
    np.testing.assert_array_equal(
        budget.more_of_the_same(problem), [3, 21])
    np.testing.assert_array_equal(
        budget.more_of_the_same(_problem([10, 1], 55)), [0, 0])

  def test_equal_candidates_are_one(self):
    found = budget.candidates(
        np.array([1, 0.0]), ('mask', 'box'), _problem([1, 2], 1))
    self.assertEqual([*found], ['best mix = mask only'])
    found = budget.candidates(
        np.array([1, 0.9]), ('mask', 'box'), _problem([2, 1], 3, have=1))
    self.assertEqual(
        [*found],
        ['best mix = box only', 'mask only', 'more of the same'])
    self.assertEqual(found['mask only'].tolist(), [1, 0])


class PlanTest(parameterized.TestCase):

  def test_boxes_where_they_are_cheap_and_worth_it(self):
    report = _plan(
        sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.005, num_seeds=3),
        have={'mask': 20, 'box': 100})
    best = report['candidates'][0]
    self.assertEqual(report['verdict'], 'ranked')
    self.assertEqual(best['name'], 'best mix = box only')
    self.assertEqual(best['mix'], {'mask': 0, 'box': 600})
    self.assertGreater(best['wins'], 0.9)
    self.assertIn('It is better than "mask only"', ' '.join(report['reasons']))
    truth = np.diff(learning_curve.predict(
        sweeps.THETA_2, np.array([[20, 100], [20, 700]])))[0]
    self.assertAlmostEqual(best['gain'], truth, delta=0.02)
    low, high = best['gain_interval_95']
    self.assertBetween(best['gain'], low, high)

  def test_masks_where_only_they_help(self):
    report = _plan(sweeps.make(
        np.array([0.9, 1.0, 0.5, 0.0]), sweeps.MIXES_2, spread=0.005,
        num_seeds=3), have={'mask': 20, 'box': 100})
    self.assertEqual(report['verdict'], 'ranked')
    self.assertEqual(report['candidates'][0]['mix']['mask'], 30)
    self.assertLess(report['curve']['worths']['box']['value'], 0.01)

  def test_room_makes_a_mixture(self):
    # Boxes are the better choice, but only up to twice the 400 boxes that the
    # runs have tried.
    report = _plan(
        sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.005, num_seeds=3),
        have={'mask': 10, 'box': 600}, budget=350.0)
    self.assertEqual(
        report['candidates'][0]['mix'], {'mask': 25, 'box': 200})
    self.assertIn('At most 200 more of box are proposed',
                  ' '.join(report['warnings']))

  def test_overlap(self):
    # A box costs as much as it is worth, so no mix is better than another.
    report = _plan(
        sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.02, num_seeds=2),
        minutes={'mask': 10.0, 'box': 1.0}, have={'mask': 20, 'box': 100})
    self.assertEqual(report['verdict'], 'cannot tell')
    self.assertIn('overlap', report['reasons'][0])

  @parameterized.named_parameters(
      ('one_run', [[10, 100]], 'Too few'),
      ('constant', [[m, 40] for m in (5, 10, 20, 30, 40, 50)], 'same number'),
      ('proportional', [[m, 10 * m] for m in (5, 10, 20, 30, 40, 50)],
       'same proportion'),
  )
  def test_cannot_tell(self, mixes, reason):
    report = _plan(sweeps.make(
        sweeps.THETA_2, np.array(mixes, float), spread=0.01), budget=50.0)
    self.assertEqual(report['verdict'], 'cannot tell')
    self.assertIn(reason, ' '.join(report['reasons']))
    self.assertNotIn('candidates', report)

  def test_noise(self):
    report = _plan(sweeps.make(
        np.array([0.7, 0, 0.5, 0]), sweeps.MIXES_2, spread=0.02, seed=1))
    self.assertEqual(report['verdict'], 'cannot tell')
    self.assertIn('No curve that rises', report['reasons'][0])

  def test_dice_that_never_varies(self):
    sweep = sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0, num_seeds=2)
    report = _plan(sweep._replace(dice=np.full(18, 0.7)))
    self.assertEqual(report['verdict'], 'cannot tell')
    self.assertIn('No curve that rises', report['reasons'][0])

  def test_without_noise(self):
    sweep = sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0, num_seeds=2)
    report = _plan(sweep, have={'mask': 20, 'box': 100})
    self.assertEqual(report['verdict'], 'ranked')
    self.assertEqual(report['curve']['p_lack_of_fit'], 1)

  def test_extrapolation(self):
    sweep = sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.01)
    # The largest run cost 600 minutes, so only a larger budget is refused.
    report = _plan(sweep, budget=600.0)
    self.assertIn('this is extrapolated', report['warnings'][0])
    report = _plan(sweep, budget=601.0)
    self.assertEqual(report['verdict'], 'cannot tell')
    self.assertIn('beyond 2 times', report['reasons'][0])
    report = _plan(sweep, have={'mask': 1, 'box': 900})
    self.assertIn('900 box are there, but no run has more than 400',
                  ' '.join(report['reasons']))
    report = _plan(sweep, have={'mask': 10, 'box': 0})
    self.assertNotIn('extrapolated', ' '.join(report['warnings']))

  def test_kind_that_no_run_has(self):
    mixes = np.pad(sweeps.MIXES_2, ((0, 0), (0, 1)))
    sweep = sweeps.make(
        np.append(sweeps.THETA_2, 0.5), mixes, spread=0.005, num_seeds=2)
    report = _plan(sweep, have={'mask': 20, 'box': 100})
    self.assertIn('No run has scribble', ' '.join(report['warnings']))
    self.assertEqual([*report['have']], ['mask', 'box'])
    report = _plan(sweep, have={'mask': 20, 'scribble': 5})
    self.assertIn('same number of scribble', ' '.join(report['reasons']))

  def test_nothing_can_be_bought(self):
    sweep = sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.01)
    report = _plan(sweep, budget=0.4, have={'mask': 10})
    self.assertIn('buys no annotation', report['reasons'][0])

  def test_report_is_json_and_repeats(self):
    sweep = sweeps.make(sweeps.THETA_3, sweeps.MIXES_3, spread=0.01)
    report = _plan(sweep, num_fits=20)
    self.assertEqual(
        json.dumps(report), json.dumps(_plan(sweep, num_fits=20)))
    wins = sum(row['wins'] for row in report['candidates'])
    self.assertAlmostEqual(wins, 1)


if __name__ == '__main__':
  absltest.main()
