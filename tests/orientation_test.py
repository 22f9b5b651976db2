"""Tests of data_prep.volumes.orientation."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import volume_type
from data_prep.volumes import orientation
import nibabel
import numpy as np

_FRAMES = [
    ''.join(letters[axis] for axis in order)
    for letters in itertools.product('LR', 'PA', 'IS')
    for order in itertools.permutations(range(3))]
_AFFINE = np.array([
    [-2.0, 0, 0, 7], [0, 0, 5, -3], [0, 0.5, 0, 1], [0, 0, 0, 1]])


def _voxels():
  return np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def _lazy(array):
  return volume_type.Lazy(array.shape, array.dtype, array.__getitem__)


class OrientationTest(parameterized.TestCase):

  def test_by_hand(self):
    turn = orientation.find_turn(_AFFINE)  # The stored axes point to L, S, A.
    self.assertEqual(turn, ((0, 2, 1), (True, False, False)))
    turned = orientation.turn_voxels(_voxels(), turn)
    self.assertEqual(turned.shape, (2, 4, 3))
    self.assertEqual(turned[0, 3, 2], _voxels()[1, 2, 3])
    np.testing.assert_array_equal(
        orientation.turn_affine(_AFFINE, (2, 3, 4), turn),
        [[2, 0, 0, 5], [0, 5, 0, -3], [0, 0, 0.5, 1], [0, 0, 0, 1]])

  @parameterized.parameters(*_FRAMES)
  def test_there_and_back(self, frame):
    volume = volume_type.Volume(_voxels(), _AFFINE)
    turn = orientation.find_turn(_AFFINE, frame)
    turned = orientation.turn_volume(volume, turn)
    self.assertEqual(''.join(nibabel.aff2axcodes(turned.affine)), frame)
    ours = nibabel.Nifti1Image(_voxels(), _AFFINE).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(_AFFINE),
            nibabel.orientations.axcodes2ornt(frame)))
    np.testing.assert_array_equal(turned.voxels, np.asarray(ours.dataobj))
    np.testing.assert_array_equal(turned.affine, ours.affine)
    back = orientation.turn_volume(turned, orientation.inverse(turn))
    np.testing.assert_array_equal(back.voxels, _voxels())
    np.testing.assert_array_equal(back.affine, _AFFINE)
    lazy = orientation.turn_voxels(_lazy(_voxels()), turn)
    self.assertEqual(lazy.shape, turned.voxels.shape)
    np.testing.assert_array_equal(lazy, turned.voxels)
    np.testing.assert_array_equal(lazy[1:, :2, 1:2], turned.voxels[1:, :2, 1:2])

  def test_there_are_48(self):
    self.assertLen(set(_FRAMES), 48)
    self.assertLen({orientation.find_turn(_AFFINE, f) for f in _FRAMES}, 48)

  def test_channels_stay_last(self):
    array = np.stack([_voxels(), -_voxels()], -1)
    turned = orientation.turn_voxels(array, orientation.find_turn(_AFFINE))
    np.testing.assert_array_equal(turned[..., 1], -turned[..., 0])

  @parameterized.parameters('RA', 'RLS', 'ras', 'RASS')
  def test_no_frame(self, frame):
    with self.assertRaisesRegex(ValueError, 'one letter each'):
      orientation.find_turn(_AFFINE, frame)

  def test_oblique_and_sheared(self):
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    turned = np.array([
        [cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    affine = turned @ _AFFINE
    self.assertAlmostEqual(orientation.obliqueness_deg(affine), 20, places=6)
    self.assertAlmostEqual(orientation.shear_deg(affine), 0, places=4)
    self.assertEqual(
        orientation.find_turn(affine), orientation.find_turn(_AFFINE))
    sheared = np.diag([1.0, 1, 3, 1])
    sheared[1, 2] = 3  # Slices are moved by one spacing each: 45 degrees.
    self.assertAlmostEqual(orientation.shear_deg(sheared), 45, places=6)
    self.assertEqual(orientation.obliqueness_deg(_AFFINE), 0)


if __name__ == '__main__':
  absltest.main()
