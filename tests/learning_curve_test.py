"""Tests for tables.learning_curve: the fit, and its uncertainty."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import optimize

from experiments.tables import learning_curve
from experiments.tables import mixed_runs
from tests import sweeps


class CurveTest(absltest.TestCase):

  def test_by_hand(self):
    # The effective number of masks is 1 + 2 + 0.25 * 4 + 0 * 9 = 4, and the
    # Dice is 0.9 - 0.6 / 2.
    theta = np.array([0.9, 0.6, 0.5, 0.25, 0.0])
    counts = np.array([[2.0, 4, 9], [0, 0, 0]])
    np.testing.assert_allclose(
        learning_curve.effective(theta, counts), [4, 1])
    np.testing.assert_allclose(
        learning_curve.predict(theta, counts), [0.6, 0.3])
    np.testing.assert_allclose(
        learning_curve.predict(np.stack([theta] * 3), counts), [[.6, .3]] * 3)
    np.testing.assert_array_equal(learning_curve.worths(theta), [1, .25, 0])
    self.assertEqual(learning_curve.num_parameters(3), 5)

  def test_jacobian(self):
    counts = sweeps.MIXES_3
    slopes = optimize.approx_fprime(
        sweeps.THETA_3, lambda t: learning_curve.predict(t, counts), 1e-7)
    np.testing.assert_allclose(
        learning_curve.jacobian(sweeps.THETA_3, counts), slopes, atol=1e-4,
        rtol=1e-4)

  def test_fit_without_noise_is_exact(self):
    sweep = sweeps.make(sweeps.THETA_3, sweeps.MIXES_3, spread=0)
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    np.testing.assert_allclose(theta, sweeps.THETA_3, atol=1e-4)

  def test_bounds(self):
    # Here, boxes do harm, so their worth stays at its bound, 0.
    sweep = sweeps.make(
        np.array([0.9, 1.0, 0.5, 0.0]), sweeps.MIXES_2, spread=0)
    harm = sweep.dice - 2e-4 * sweep.counts[:, 1]
    theta = learning_curve.fit(sweep.counts, harm)
    self.assertAlmostEqual(theta[3], 0, places=4)
    self.assertBetween(theta[0], 0, 1)


class BootstrapTest(absltest.TestCase):

  def test_many_at_once_as_one_by_one(self):
    for theta, mixes in (
        (sweeps.THETA_2, sweeps.MIXES_2), (sweeps.THETA_3, sweeps.MIXES_3),
        # The last worth lies at its bound.
        (np.array([0.9, 1.0, 0.5, 0.0]), sweeps.MIXES_2)):
      drawn = np.array([
          sweeps.make(theta, mixes, spread=0.02, seed=seed).dice
          for seed in range(5)])
      cost = lambda t, d, counts=mixes: np.sum(
          (learning_curve.predict(t, counts) - d) ** 2)
      for together, dice in zip(
          learning_curve.refit(mixes, drawn, theta), drawn, strict=True):
        alone = learning_curve.fit(mixes, dice)
        self.assertLessEqual(
            cost(together, dice), cost(alone, dice) * (1 + 1e-6))

  def test_planted_worths(self):
    sweep = sweeps.make(
        sweeps.THETA_3, sweeps.MIXES_3, spread=0.01, num_seeds=2)
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    fits = learning_curve.bootstrap(
        sweep.counts, sweep.dice, theta, num_fits=100)
    report = learning_curve.describe(sweep, theta, fits)
    for kind, worth in (('box', 0.1), ('scribble', 0.03)):
      low, high = report['worths'][kind]['interval_95']
      # Allow an interval of twice the width, since one true worth in twenty
      # lies outside of a 95 % interval.
      self.assertBetween(worth, 1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low)
      self.assertLess(high - low, 0.1)
    self.assertBetween(report['residual_sd'], 0.006, 0.014)

  def test_coverage(self):
    inside = []
    for seed in range(100):
      sweep = sweeps.make(
          sweeps.THETA_2, sweeps.MIXES_2, spread=0.01, num_seeds=2, seed=seed)
      theta = learning_curve.fit(sweep.counts, sweep.dice)
      fits = learning_curve.bootstrap(
          sweep.counts, sweep.dice, theta, num_fits=150)
      low, high = learning_curve.interval(fits[:, 3])
      inside.append(low <= sweeps.THETA_2[3] <= high)
    # Allow three standard errors below 95 %. experiments/results/planning.md
    # has more simulations.
    self.assertGreaterEqual(np.mean(inside), 0.885)


class ObjectionsTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('one_run', [[10, 5]], 'Too few for 4 parameters, which take 4 mixes and '
       '5 runs: 1 run of 1 mix.'),
      ('few_mixes', [[10, 0], [10, 9], [20, 0]] * 4, 'of 3 mixes'),
      ('constant', [[m, 40] for m in range(8)],
       'same number of box: what one is worth'),
      ('constant_mask', [[40, b] for b in range(8)], 'same number of mask'),
      ('proportional', [[m, 8 * m] for m in range(1, 9)],
       'mask and box always come in the same proportion'),
  )
  def test_design(self, counts, message):
    counts = np.array(counts, np.float64)
    sweep = mixed_runs.Sweep(
        ('mask', 'box'), counts, np.linspace(.5, .8, len(counts)),
        np.arange(len(counts)))
    self.assertIn(
        message, ' '.join(learning_curve.design_objections(sweep)))

  def test_names_only_the_kinds_that_are_mixed_up(self):
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (12, 3)).astype(float)
    counts[:, 2] = 2 * counts[:, 1]
    sweep = mixed_runs.Sweep(
        ('mask', 'box', 'scribble'), counts, rng.random(12), np.arange(12))
    objections = learning_curve.design_objections(sweep)
    self.assertLen(objections, 1)
    self.assertStartsWith(objections[0], 'box and scribble always')

  def test_good_design(self):
    sweep = sweeps.make(sweeps.THETA_3, sweeps.MIXES_3, spread=0.01)
    self.assertEqual(learning_curve.design_objections(sweep), [])
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    self.assertEqual(learning_curve.fit_objections(sweep, theta), [])

  def test_pure_noise(self):
    refused = 0
    for seed in range(10):
      sweep = sweeps.make(
          np.array([0.7, 0, 0.5, 0]), sweeps.MIXES_2, spread=0.02, num_seeds=2,
          seed=seed)
      theta = learning_curve.fit(sweep.counts, sweep.dice)
      refused += 'No curve that rises' in ' '.join(
          learning_curve.fit_objections(sweep, theta))
    self.assertGreaterEqual(refused, 8)

  def test_worth_that_hides_in_the_shape(self):
    # If the number of boxes is proportional to the effective masks, the curve
    # alone cannot show their worth.
    masks = np.arange(1.0, 13)
    sweep = sweeps.make(sweeps.THETA_2, np.stack(
        [masks, (1 + masks) * 7], axis=1), spread=0)
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    self.assertIn('worth of box does not follow from',
                  ' '.join(learning_curve.fit_objections(sweep, theta)))


class DoubtsTest(absltest.TestCase):

  def test_lack_of_fit(self):
    sweep = sweeps.make(
        sweeps.THETA_2, sweeps.MIXES_2, spread=0.003, num_seeds=3)
    p_value = lambda s: learning_curve.lack_of_fit_p_value(
        s, learning_curve.fit(s.counts, s.dice))
    self.assertGreater(p_value(sweep), 0.01)
    # Boxes that help only together with many masks do not fit a sum.
    both = (sweep.counts[:, 0] > 30) & (sweep.counts[:, 1] > 100)
    self.assertLess(p_value(sweep._replace(dice=sweep.dice + .1 * both)), 1e-4)

  def test_harm(self):
    sweep = sweeps.make(
        sweeps.THETA_3, sweeps.MIXES_3, spread=0.01, num_seeds=2)
    self.assertEqual(learning_curve.harm_warnings(sweep), [])
    sweep = sweep._replace(dice=sweep.dice - 0.1 * (sweep.counts[:, 2] > 0))
    lines = learning_curve.harm_warnings(sweep)
    self.assertLen(lines, 1)
    self.assertStartsWith(lines[0], 'Runs with more scribble score lower')

  def test_harm_by_hand(self):
    # These are runs on the phantom with 100 steps, see
    # experiments/results/planning.md.
    sweep = mixed_runs.Sweep(
        ('mask', 'box'),
        np.array([[8, 0], [32, 0], [96, 0], [8, 112], [32, 88], [96, 24.0]]),
        np.array([.856, .864, .870, .819, .835, .827]), np.zeros(6, int))
    rises, falls = learning_curve.harm_p_values(sweep)
    self.assertGreater(rises, 0.5)
    self.assertLess(falls, 0.02)
    self.assertTrue(np.isnan(learning_curve.harm_p_values(sweep._replace(
        counts=sweep.counts[:3], dice=sweep.dice[:3]))).all())

  def test_warnings(self):
    sweep = sweeps.make(sweeps.THETA_2, sweeps.MIXES_2, spread=0.01)
    theta = learning_curve.fit(sweep.counts, sweep.dice)
    fits = np.stack([theta, theta])
    fits[:, 3] = 0, 0.9
    lines = learning_curve.warnings(sweep, theta, fits)
    self.assertLen(lines, 2)
    self.assertRegex(lines[0], r'worth of one box is hardly known: 0\.0')
    self.assertIn('No mix was run with two seeds', lines[1])


if __name__ == '__main__':
  absltest.main()
