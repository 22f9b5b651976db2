"""Tests of data_prep.volumes.resampling; see also tests/long/resampling.py."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import volume_type
from data_prep.volumes import resampling
import numpy as np
from scipy import ndimage

_SHAPES = ((20, 9, 31), (7, 5, 9), (26, 18, 40), (13, 14, 20))


def _image():
  return np.random.default_rng(0).normal(size=(13, 9, 20)).astype(np.float32)


def _labels():
  return np.random.default_rng(1).choice(
      np.array([0, 1, 4, 255], np.uint8), (13, 9, 20))


def _line(*values):
  return np.array(values, np.uint8).reshape(1, 1, -1)


class ImageTest(parameterized.TestCase):

  def test_by_hand(self):
    image = np.array([0, 4.0]).reshape(1, 1, 2)
    np.testing.assert_allclose(
        resampling.resample_image(image, (1, 1, 4), order=1).ravel(),
        [0, 1, 3, 4])
    np.testing.assert_allclose(
        resampling.resample_image(image, (2, 1, 4), order=0)[1].ravel(),
        [0, 0, 4, 4])

  @parameterized.product(shape=_SHAPES, order=(1, 3))
  def test_is_that_of_scipy(self, shape, order):
    expected = ndimage.zoom(
        _image().astype(np.float64), np.divide(shape, _image().shape),
        order=order, mode='nearest', grid_mode=True)
    found = resampling.resample_image(_image(), shape, order=order)
    self.assertEqual(found.dtype, np.float32)
    np.testing.assert_allclose(found, expected, atol=5e-6)

  @parameterized.product(shape=_SHAPES, coarse=(None, 0, 2))
  def test_slabs_are_parts_of_the_whole(self, shape, coarse):
    lazy = volume_type.Lazy(
        _image().shape, np.float32, _image().__getitem__)
    for start in range(0, shape[2], 7):
      slab = start, min(shape[2], start + 7)
      np.testing.assert_allclose(
          resampling.resample_image(lazy, shape, coarse=coarse, slab=slab),
          resampling.resample_image(
              _image(), shape, coarse=coarse)[..., slice(*slab)], atol=1e-6)
      np.testing.assert_array_equal(
          resampling.resample_labels(
              _labels(), shape, coarse=coarse, slab=slab),
          resampling.resample_labels(
              _labels(), shape, coarse=coarse)[..., slice(*slab)])

  def test_a_long_volume_in_slabs(self):
    """The volume is so long that a slab is computed from a part of it."""
    image = np.random.default_rng(0).normal(size=(2, 1, 300))
    whole = resampling.resample_image(image, (2, 1, 450))
    part = resampling.resample_image(image, (2, 1, 450), slab=(200, 230))
    np.testing.assert_allclose(part, whole[..., 200:230], atol=1e-6)

  def test_an_axis_apart_is_not_mixed(self):
    image = np.zeros((4, 4, 3), np.float32) + [1, 2, 7]
    found = resampling.resample_image(image, (8, 8, 6), coarse=2)
    np.testing.assert_allclose(
        found, np.zeros((8, 8, 6)) + [1, 1, 2, 2, 7, 7], rtol=1e-6)

  def test_limits(self):
    image = np.zeros((1, 1, 8), np.float32)
    image[..., 4:] = 1
    found = resampling.resample_image(image, (1, 1, 24))
    self.assertLess(found.min(), -0.02)
    found = resampling.resample_image(image, (1, 1, 24), limits=(0, 1))
    self.assertEqual((found.min(), found.max()), (0, 1))


class LabelsTest(parameterized.TestCase):

  def test_by_hand(self):
    found = resampling.resample_labels(_line(0, 0, 3, 3), (1, 1, 8))
    np.testing.assert_array_equal(found.ravel(), [0, 0, 0, 0, 3, 3, 3, 3])
    # The centre of the only new voxel is that of the middle old voxel, whose
    # class it gets.
    found = resampling.resample_labels(_line(0, 3, 0), (1, 1, 1))
    np.testing.assert_array_equal(found.ravel(), [3])

  def test_ties_go_to_the_nearest_voxel(self):
    # The centre of the new voxel is on the border between the two old voxels.
    # The second one counts as the nearest.
    for labels in (_line(1, 2), _line(2, 1)):
      found = resampling.resample_labels(labels, (1, 1, 1))
      self.assertEqual(found.item(), labels[0, 0, 1])

  def test_the_largest_share_wins_without_a_majority(self):
    labels = np.zeros((3, 3, 1), np.uint8)
    labels[1:] = [[[1], [5], [5]], [[2], [5], [2]]]
    for shape in ((2, 2, 1), (5, 5, 1), (4, 7, 1)):
      found = resampling.resample_labels(labels, shape)
      shares = np.stack([resampling.resample_image(
          labels == k, shape, order=1) for k in range(6)])
      np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-6)
      np.testing.assert_allclose(
          np.take_along_axis(shares, found[None].astype(int), 0)[0],
          shares.max(0), atol=1e-5)

  @parameterized.parameters(*((shape,) for shape in _SHAPES))
  def test_no_new_class(self, shape):
    found = resampling.resample_labels(_labels(), shape)
    self.assertContainsSubset(np.unique(found).tolist(), (0, 1, 4, 255))
    self.assertEqual(found.dtype, np.uint8)

  def test_same_shape_is_the_same(self):
    np.testing.assert_array_equal(
        resampling.resample_labels(_labels(), _labels().shape), _labels())

  def test_there_and_back(self):
    """A prediction at twice the resolution is restored without a change."""
    labels = _labels() % 251  # Maps 255 to 4.
    finer = tuple(2 * n for n in labels.shape)
    probs = np.eye(5, dtype=np.float32)[labels].repeat(2, 0).repeat(
        2, 1).repeat(2, 2)
    self.assertEqual(probs.shape[:3], finer)
    found = np.full(labels.shape, 9, np.uint8)
    resampling.restore_labels(probs, found)
    np.testing.assert_array_equal(found, labels)


class SparseTest(parameterized.TestCase):

  def test_by_hand(self):
    found = resampling.resample_sparse(
        _line(255, 1, 255, 255, 255, 2), (1, 1, 3))
    np.testing.assert_array_equal(found.ravel(), [1, 255, 2])
    found = resampling.resample_sparse(_line(255, 1, 255), (1, 1, 6))
    np.testing.assert_array_equal(found.ravel(), [255, 255, 1, 1, 255, 255])

  def test_the_rarer_class_wins(self):
    found = resampling.resample_sparse(
        _line(1, 1, 2, 1, 1, 1, 255, 255), (1, 1, 4))
    np.testing.assert_array_equal(found.ravel(), [1, 2, 1, 255])

  @parameterized.parameters(*(
      (shape,) for shape in (*_SHAPES, (3, 2, 2), (40, 2, 7))))
  def test_every_labelled_voxel_survives(self, shape):
    rng = np.random.default_rng(0)
    labels = np.full((13, 9, 20), 255, np.uint8)
    for value in range(4):
      labels[tuple(rng.integers(0, n, 3) for n in labels.shape)] = value
    found = resampling.resample_sparse(labels, shape)
    index = np.argwhere(labels != 255)
    moved = resampling.move_points(index, labels.shape, shape)
    # Centres of voxels have whole coordinates, so rounding a position gives the
    # voxel that contains it.
    moved = np.clip(
        np.floor(moved + 0.5 + 1e-9), 0, np.array(shape) - 1).astype(int)
    self.assertTrue((found[tuple(moved.T)] != 255).all())
    self.assertContainsSubset(
        np.unique(found).tolist(), np.unique(labels).tolist())
    if min(np.divide(shape, labels.shape)) >= 1:
      np.testing.assert_array_equal(
          found[tuple(moved.T)], labels[tuple(index.T)])


class GeometryTest(parameterized.TestCase):

  def test_new_shape(self):
    self.assertEqual(
        resampling.new_shape((10, 10, 3), (1, 0.5, 8), (2, 0.5, 90)),
        (5, 10, 1))

  def test_new_affine_keeps_the_box(self):
    affine = np.diag([2.0, 1, 1, 1])
    affine[:3, 3] = 10
    found = resampling.new_affine(affine, (4, 3, 2), (8, 3, 1))
    np.testing.assert_allclose(
        found, [[1, 0, 0, 9.5], [0, 1, 0, 10], [0, 0, 2, 10.5], [0, 0, 0, 1]])

  @parameterized.parameters(
      ((1, 1, 1), (1, 1, 1), None), ((1, 1, 3), (1, 1, 1), None),
      ((1, 1, 3.1), (1, 1, 1), 2), ((1, 1, 1), (9, 2, 2), 0),
      ((0.2, 1, 1), (1, 1, 1), None), ((0.2, 1, 1.1), (1, 1, 1), 2))
  def test_coarse_axis(self, old, new, expected):
    self.assertEqual(resampling.coarse_axis(old, new), expected)


if __name__ == '__main__':
  absltest.main()
