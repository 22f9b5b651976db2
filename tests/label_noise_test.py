"""Tests for data_prep.drawing.label_noise."""

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
import numpy as np
from scipy import ndimage

from data_prep.drawing import label_noise
from data_prep.drawing import simulate
from data_prep.shared import geometry
from tests import label_maps

_UNLABELLED = types.UNLABELLED


def _sizes(label):
  return [int(mask.sum()) for _, mask in geometry.components(label)]


def _two_objects():
  label = label_maps.disc(64, 18, 20, 9)
  label += label_maps.disc(64, 44, 40, 7, value=2)
  label[:, -3:] = _UNLABELLED
  return label


class NoiseTest(parameterized.TestCase):

  @parameterized.product(
      noise=[*label_noise.NOISE], strength=[0.1, 1.0])
  def test_odd_maps(self, noise, strength):
    for i, label in enumerate(label_maps.random_maps(40)):
      before = label.copy()
      draw = lambda label=label, i=i: label_noise.add_noise(
          label, np.random.default_rng(i), noise=noise, num_classes=4,
          strength=strength)
      noisy = draw()
      np.testing.assert_array_equal(noisy, draw())
      np.testing.assert_array_equal(label, before)
      self.assertEqual((noisy.dtype, noisy.shape), (np.uint8, label.shape))
      np.testing.assert_array_equal(
          noisy == _UNLABELLED, label == _UNLABELLED)
      self.assertContainsSubset(
          np.unique(noisy), [0, 1, 2, 3, _UNLABELLED])
      if not geometry.components(label) and noise != 'hallucinate_object':
        np.testing.assert_array_equal(noisy, label)

  def _noisy(self, noise, strength, seed=0):
    return label_noise.add_noise(
        _two_objects(), np.random.default_rng(seed), noise=noise,
        num_classes=3, strength=strength)

  @parameterized.parameters(('dilate', 1), ('erode', -1))
  def test_area(self, noise, sign):
    before = np.array(_sizes(_two_objects()))
    little, much = (
        np.array(_sizes(self._noisy(noise, s))) for s in (0.2, 1.0))
    self.assertTrue((sign * (little - before) > 0).all())
    self.assertTrue((sign * (much - little) > 0).all())
    self.assertGreater(much.min(), 20)
    # Radii grow or shrink by a quarter to a half.
    low, high = sorted(((1 + sign * 0.2) ** 2, (1 + sign * 0.6) ** 2))
    self.assertTrue(((much / before > low) & (much / before < high)).all())

  def test_dilate_keeps_the_neighbours(self):
    label = np.zeros((16, 16), np.uint8)
    label[4:10, 2:8], label[4:10, 8:14] = 1, 2
    noisy = label_noise.add_noise(
        label, np.random.default_rng(0), noise='dilate', num_classes=3,
        strength=1.0)
    np.testing.assert_array_equal(noisy[label > 0], label[label > 0])

  def test_erode_keeps_thin_objects(self):
    label = np.zeros((8, 8), np.uint8)
    label[3], label[6, 6] = 1, 2
    np.testing.assert_array_equal(
        label_noise.add_noise(
            label, np.random.default_rng(0), noise='erode', num_classes=3,
            strength=1.0), label)

  def test_shift(self):
    for seed in range(10):
      truth = _two_objects()
      little, much = (self._noisy('shift', s, seed) for s in (0.1, 1.0))
      self.assertEqual(_sizes(much), _sizes(truth))
      self.assertBetween(geometry.quality(much, truth, 3), 0.2, 0.75)
      self.assertBetween(
          geometry.quality(little, truth, 3),
          geometry.quality(much, truth, 3) + 0.1, 0.99)
      steps = [
          np.argwhere(much == v).mean(0) - np.argwhere(truth == v).mean(0)
          for v in (1, 2)]
      # One direction.
      self.assertGreater(
          steps[0] @ steps[1] / np.prod([np.hypot(*s) for s in steps]), 0.95)

  def test_rotate(self):
    label = np.zeros((64, 64), np.uint8)
    label[28:36, 12:52] = 1
    turn = lambda strength: label_noise.add_noise(
        label, np.random.default_rng(0), noise='rotate', num_classes=2,
        strength=strength)
    angles_deg = []
    for strength in (0.2, 1.0):
      noisy = turn(strength)
      self.assertBetween(noisy.sum() / label.sum(), 0.95, 1.05)
      np.testing.assert_allclose(
          np.argwhere(noisy).mean(0), np.argwhere(label).mean(0), atol=0.3)
      angle_deg = geometry.fitted_ellipse(noisy > 0, scale=1.0)[4]
      angles_deg.append(min(angle_deg, 180 - angle_deg))
    self.assertBetween(angles_deg[0], 8.5, 18.5)
    self.assertBetween(angles_deg[1], 44, 90)

  def test_miss_and_hallucinate_one_object(self):
    for i, label in enumerate(label_maps.random_maps(100)):
      objects = geometry.components(label)
      options = dict(num_classes=4, strength=0.5)
      missed = label_noise.add_noise(
          label, np.random.default_rng(i), noise='miss_object', **options)
      self.assertLen(
          geometry.components(missed), max(len(objects) - 1, 0))
      more = label_noise.add_noise(
          label, np.random.default_rng(i), noise='hallucinate_object',
          **options)
      np.testing.assert_array_equal(more[label != 0], label[label != 0])
      room = ~ndimage.binary_dilation(label != 0, np.ones((3, 3)))
      self.assertLen(
          geometry.components(more), len(objects) + bool(room.any()))

  def test_hallucinated_discs_grow_with_strength(self):
    empty = np.zeros((64, 64), np.uint8)
    areas = [
        (label_noise.add_noise(
            empty, np.random.default_rng(0), noise='hallucinate_object',
            num_classes=2, strength=s) == 1).sum() for s in (0.3, 1.0)]
    np.testing.assert_allclose(
        areas, [np.pi * 3.2**2, np.pi * (64 / 6) ** 2], rtol=0.2)

  def test_swap_classes(self):
    for i, label in enumerate(label_maps.random_maps(60)):
      swap = lambda num_classes, label=label, i=i: label_noise.add_noise(
          label, np.random.default_rng(i), noise='swap_classes',
          num_classes=num_classes, strength=0.5)
      np.testing.assert_array_equal(swap(2), label)
      noisy = swap(4)
      np.testing.assert_array_equal(noisy == 0, label == 0)
      changed = noisy != label
      objects = geometry.components(label)
      self.assertEqual(
          sum(np.array_equal(changed, mask) for _, mask in objects),
          bool(objects))

  @parameterized.parameters(
      ({'noise': 'blob'}, "Unknown noise='blob'; known: .*'dilate'.*'rotate'"),
      ({'strength': 0.0}, 'strength=0.0 is not in'),
      ({'strength': 1.1}, 'strength=1.1 is not in'))
  def test_wrong_options(self, options, words):
    options = {'noise': 'shift', 'num_classes': 2, 'strength': 0.5, **options}
    with self.assertRaisesRegex(ValueError, words):
      label_noise.add_noise(
          np.zeros((8, 8), np.uint8), np.random.default_rng(0), **options)

  def test_any_kind_of_a_noisy_map(self):
    for kind in simulate.KINDS:
      annotation = simulate.simulate_weak(
          self._noisy('swap_classes', 1.0), np.random.default_rng(0),
          kind=kind, quality_level=1.0)
      self.assertNotEmpty(annotation['labels'])


if __name__ == '__main__':
  absltest.main()
