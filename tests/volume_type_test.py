"""Tests of data_prep.shared.volume_type."""

from absl.testing import absltest
from data_prep.shared import volume_type
import numpy as np


class LazyTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.array = np.arange(24).reshape(2, 3, 4)
    self.asked = []

    def read(block):
      self.asked.append(block)
      return self.array[block]

    self.lazy = volume_type.Lazy((2, 3, 4), np.int64, read)

  def test_reads_the_block_that_is_asked_for(self):
    np.testing.assert_array_equal(
        self.lazy[1:, -2:, 1:99], self.array[1:, -2:, 1:])
    self.assertEqual(self.asked, [(slice(1, 2), slice(1, 3), slice(1, 4))])
    np.testing.assert_array_equal(self.lazy[:1], self.array[:1])
    self.assertEqual(self.lazy[2:1, :, 5:].shape, (0, 3, 0))

  def test_is_an_array(self):
    np.testing.assert_array_equal(np.asarray(self.lazy), self.array)
    self.assertEqual(np.asarray(self.lazy, np.float32).dtype, np.float32)
    self.assertEqual((self.lazy.shape, self.lazy.ndim), ((2, 3, 4), 3))

  def test_refuses_other_indices(self):
    with self.assertRaisesRegex(TypeError, 'up to three slices'):
      _ = self.lazy[0]
    with self.assertRaisesRegex(ValueError, 'step 1'):
      _ = self.lazy[::2]


class VolumeTest(absltest.TestCase):

  def test_spacing(self):
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, :3] = [[0, 0, 4], [-3, 0, 0], [0, 0.5, 3]]
    volume = volume_type.Volume(np.zeros((2, 3, 4)), affine)
    np.testing.assert_allclose(volume.spacing_mm, (3, 0.5, 5))
    self.assertIsNone(volume.ignore)
    self.assertEqual(volume.names, {})


if __name__ == '__main__':
  absltest.main()
