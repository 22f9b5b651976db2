"""Tests for experiments.auditing.planting, which plants faults to learn from.
"""

from absl.testing import absltest
from absl.testing import parameterized
from experiments.auditing import planting
from experiments.auditing import reasons
from experiments.auditing import signs as signs_lib
from hybridseg import types
import numpy as np

from tests import audited

_Kind = types.AnnotationKind
_NUM_SIGNS = len(signs_lib.NAMES)


def _planted(number, groups, seed=0):
  rng = np.random.default_rng(seed)
  faulty = np.arange(number) % 2 == 0
  signs = rng.normal(size=(2, number, _NUM_SIGNS))
  signs[..., 0] += faulty
  return planting.Planted(signs, faulty, groups)


class CrossFitTest(absltest.TestCase):

  def test_each_fit_leaves_out_its_subjects(self):
    # There are two subjects, and each fit leaves out one of them, so it sees
    # the other one alone.
    groups = np.array(['a'] * 6 + ['b'] * 4)
    planted = _planted(10, groups)
    found, held_out = planting.cross_fit(planted)
    self.assertEqual(found.shape, (2, _NUM_SIGNS + 1))
    for name, other in (('a', 'b'), ('b', 'a')):
      alone = groups == other
      wanted = planting.fit(
          planted.signs[:, alone].reshape(-1, _NUM_SIGNS),
          np.tile(planted.faulty[alone], 2))
      self.assertLess(np.abs(found - wanted).max(axis=1).min(), 1e-9)
      np.testing.assert_allclose(
          held_out[:, groups == name],
          planting.log_odds(planted.signs[:, groups == name], wanted))

  def test_no_subject_is_seen_by_the_fit_that_judges_it(self):
    groups = np.repeat([f's{i}' for i in range(13)], 4)
    planted = _planted(52, groups)
    _, before = planting.cross_fit(planted)
    changed = planted.signs.copy()
    changed[:, groups == 's3'] += 5
    _, after = planting.cross_fit(planted._replace(signs=changed))
    # The fit that judges s3 has not seen s3 and stays the same. The log odds of
    # s3 therefore change only by 5 times the sum of that fit's coefficients.
    step = after[:, groups == 's3'] - before[:, groups == 's3']
    np.testing.assert_allclose(step, step[0, 0], rtol=1e-6)
    self.assertFalse(np.isnan(before).any())

  def test_one_subject_is_seen_by_all(self):
    planted = _planted(8, np.array(['a'] * 8))
    found, held_out = planting.cross_fit(planted)
    np.testing.assert_allclose(found[0], planting.fit(
        planted.signs.reshape(-1, _NUM_SIGNS), np.tile(planted.faulty, 2)))
    self.assertTrue(np.isnan(held_out).all())

  def test_nothing_planted_is_the_rule(self):
    nothing = planting.Planted(
        np.zeros((2, 0, _NUM_SIGNS)), np.zeros(0, bool))
    found, held_out = planting.cross_fit(nothing)
    np.testing.assert_allclose(found[0][[0, -1]], [8, -4])
    self.assertEqual(held_out.shape, (2, 0))


class PlantingTest(parameterized.TestCase):

  def test_with_nothing_planted_it_is_the_rule(self):
    coefficients = planting.fit(
        np.zeros((0, len(signs_lib.NAMES))), np.zeros(0, bool))
    signs = np.zeros((3, len(signs_lib.NAMES)))
    signs[:, 0] = 0, 0.5, 1
    np.testing.assert_allclose(
        planting.log_odds(signs, coefficients), [-4, 0, 4])

  def test_learns_which_sign_tells(self):
    rng = np.random.default_rng(0)
    signs = rng.normal(size=(400, len(signs_lib.NAMES)))
    faulty = rng.uniform(size=400) < 1 / (1 + np.exp(3 * signs[:, 2] - 1))
    found = planting.fit(signs, faulty)
    wanted = np.zeros(len(found))
    wanted[[2, -1]] = -3, 1
    np.testing.assert_allclose(found, wanted, atol=0.6)

  def test_fit_is_where_the_gradient_vanishes(self):
    rng = np.random.default_rng(1)
    signs = rng.normal(size=(50, len(signs_lib.NAMES)))
    faulty = rng.uniform(size=50) < 0.5
    found = planting.fit(signs, faulty)
    probs = 1 / (1 + np.exp(-planting.log_odds(signs, found)))
    rule = np.zeros(len(found))
    rule[[0, -1]] = 8, -4
    grad = np.append(
        signs.T @ (probs - faulty), (probs - faulty).sum()) + 0.1 * (
            found - rule)
    np.testing.assert_allclose(grad, 0, atol=1e-3)

  def test_prior_by_hand(self):
    # Odds that are certain do not depend on the prior: 30 of 100 annotations
    # are faulty, so the prior share is (30 + 1) / (100 + 2).
    odds = np.where(np.arange(100) < 30, 50.0, -50.0)
    self.assertAlmostEqual(
        planting.prior_log_odds(odds), np.log(31 / 71))
    # Without any evidence, or without any annotation, the share is 1 / 2.
    self.assertAlmostEqual(planting.prior_log_odds(np.zeros(9)), 0)
    self.assertAlmostEqual(planting.prior_log_odds(np.zeros(0)), 0)

  @parameterized.parameters(0.0, 0.05, 0.2, 0.5)
  def test_prior_finds_the_share(self, share):
    rng = np.random.default_rng(2)
    faulty = np.arange(1000) < share * 1000
    # The evidence of good and of faulty annotations is normal with variance 1,
    # and the means are 3 apart. `odds` are then the true log odds.
    odds = 3 * (rng.normal(size=1000) + 3 * faulty - 1.5)
    prior = planting.prior_log_odds(odds)
    self.assertAlmostEqual(1 / (1 + np.exp(-prior)), share, delta=0.03)

  @parameterized.parameters(*(k for k in _Kind if k != _Kind.NONE))
  def test_draws_every_kind_good_and_faulty(self, kind):
    truth = audited.square(audited.SEEN)
    for fault in ('', *reasons.OF_FAULT):
      label, present = planting.draw(
          truth, kind, np.random.default_rng(0), num_classes=3, fault=fault)
      self.assertEqual(label.shape, truth.shape)
      if kind == _Kind.TAG:
        self.assertEqual(list(present) == [0, 1, 0], not fault)
      elif kind == _Kind.MASK:
        self.assertEqual((label == truth).all(), not fault)


if __name__ == '__main__':
  absltest.main()
