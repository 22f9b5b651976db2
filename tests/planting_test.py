"""Tests for experiments.auditing.planting: fits that leave subjects out."""

from absl.testing import absltest
from experiments.auditing import planting
from experiments.auditing import signs as signs_lib
import numpy as np

_NUM_SIGNS = len(signs_lib.NAMES)


def _planted(number, groups, seed=0):
  rng = np.random.default_rng(seed)
  faulty = np.arange(number) % 2 == 0
  signs = rng.normal(size=(2, number, _NUM_SIGNS))
  signs[..., 0] += faulty
  return planting.Planted(signs, faulty, groups)


class CrossFitTest(absltest.TestCase):

  def test_each_fit_leaves_out_its_subjects(self):
    # Two subjects, so that each fit sees one of them.
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
    # Those of s3 move by their own signs alone: by the sum of the same fit.
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


if __name__ == '__main__':
  absltest.main()
