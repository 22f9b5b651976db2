"""Tests of data_prep.volumes.levels."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.volumes import levels
import numpy as np


def _values(array, found):
  """Returns the values for which levels stand."""
  return found.low + array / 65535 * (found.high - found.low)


class LevelsTest(parameterized.TestCase):

  def test_statistics_by_hand(self):
    voxels = np.array([0, 0, 1, 3, np.nan, -np.inf]).reshape(1, 2, 3)
    self.assertEqual(levels.statistics(voxels), (2.0, 1.0, 0.0, 3.0, False))
    self.assertEqual(
        levels.statistics(np.zeros((2, 2, 2))), (0.0, 0.0, 0.0, 0.0, True))
    self.assertEqual(levels.statistics(np.full((1, 1, 2), np.nan)),
                     (0.0, 0.0, 0.0, 0.0, False))

  def test_statistics_of_slabs(self):
    voxels = np.random.default_rng(0).normal(1e6, 1, (2, 3, 50))
    whole = levels.statistics(voxels)
    with self.subTest('many slabs'):
      levels_slab, levels._SLAB_VOXELS = levels._SLAB_VOXELS, 12
      try:
        self.assertLen(levels.slabs(voxels.shape), 25)
        np.testing.assert_allclose(
            levels.statistics(voxels), whole, rtol=1e-9)
      finally:
        levels._SLAB_VOXELS = levels_slab
    np.testing.assert_allclose(
        whole, (voxels.mean(), voxels.std(), voxels.min(), voxels.max(), True),
        rtol=1e-9)

  def test_foreground_sample(self):
    voxels = np.arange(60.0).reshape(3, 4, 5)
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1], labels[2], labels[1, 0, 0] = 2, 255, 1
    self.assertEqual(
        set(levels.foreground_sample(voxels, labels)), set(range(20, 40)))
    voxels = np.arange(50_000.0).reshape(10, 50, 100)
    found = levels.foreground_sample(voxels, np.ones(voxels.shape, np.uint8))
    self.assertLen(found, 10_000)
    np.testing.assert_allclose(found.mean(), voxels.mean(), rtol=1e-2)

  def test_ct(self):
    found = levels.make_levels('ct', [np.arange(0, 101.0), np.arange(101, 201)])
    self.assertEqual(found, ('ct', 1.0, 199.0))
    array = np.array([-1000, 1, 100, 199, 3000, np.nan])
    mapped = levels.to_levels(array, found, levels.Statistics(5, 7, 0, 0))
    np.testing.assert_allclose(
        mapped, [0, 0, 65535 / 2, 65535, 65535, 0], rtol=1e-6)
    np.testing.assert_allclose(
        _values(levels.round_levels(mapped), found),
        [1, 1, 100, 199, 199, 1], atol=2e-3)
    self.assertEqual(
        levels.make_levels('ct', [], (-160, 240)), ('ct', -160, 240))
    with self.assertRaisesRegex(ValueError, 'give --intensity_range'):
      levels.make_levels('ct', [np.zeros(0)])

  @parameterized.parameters(1.0, 1e-3, 1e6)
  def test_mr_has_no_scale(self, scale):
    """Mean and std of the body count, whatever the unit."""
    voxels = np.zeros((4, 4, 8), np.float32)
    voxels[..., 4:] = np.random.default_rng(0).uniform(1, 3, (4, 4, 4))
    voxels *= scale
    found = levels.make_levels('mr', [])
    mapped = levels.round_levels(
        levels.to_levels(voxels, found, levels.statistics(voxels)))
    values = _values(mapped, found)[..., 4:]
    self.assertAlmostEqual(values.mean(), 0, places=3)
    self.assertAlmostEqual(values.std(), 1, places=3)

  def test_a_volume_of_one_value(self):
    voxels = np.full((2, 2, 2), 7.0)
    found = levels.make_levels('mr', [])
    mapped = levels.to_levels(voxels, found, levels.statistics(voxels))
    np.testing.assert_allclose(
        _values(levels.round_levels(mapped), found), 0, atol=2e-4)

  def test_guess(self):
    of = lambda low: levels.Statistics(0, 1, low, 1000)
    self.assertEqual(levels.guess_modality([of(-1024), of(-1000), of(0)]), 'ct')
    self.assertEqual(levels.guess_modality([of(0), of(-3)]), 'mr')


if __name__ == '__main__':
  absltest.main()
