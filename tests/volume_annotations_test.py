"""Tests of data_prep.drawing.volume_annotations."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import volume_annotations
import numpy as np


def _truth():
  label = np.zeros((8, 6, 24), np.uint8)
  label[1:4, 1:4, 6:18] = 1
  label[2, 2, 8:12] = 2
  return label


def _rng(seed=0):
  return np.random.default_rng(seed)


class VolumeAnnotationsTest(parameterized.TestCase):

  @parameterized.product(axis=(0, 1, 2), seed=(0, 1, 2))
  def test_slices(self, axis, seed):
    found = volume_annotations.draw_slices(_truth(), _rng(seed), axis=axis)
    planes = np.moveaxis(found, axis, 0)
    truth = np.moveaxis(_truth(), axis, 0)
    drawn = [k for k, p in enumerate(planes) if (p != 255).all()]
    self.assertLen(
        [p for p in planes if (p == 255).all()], len(planes) - len(drawn))
    np.testing.assert_array_equal(planes[drawn], truth[drawn])
    self.assertTrue((truth[drawn] > 0).any())
    self.assertBetween(len(drawn), 1, 2 + len(planes) // 8)
    self.assertTrue(volume_annotations.is_slices(found))

  def test_what_is_no_set_of_slices(self):
    scribble = np.full((4, 4, 4), 255, np.uint8)
    scribble[1, 1, 1] = 1
    for label in (_truth(), scribble, np.full((3, 3, 3), 255, np.uint8)):
      self.assertFalse(volume_annotations.is_slices(label))

  def test_boxes(self):
    found = volume_annotations.draw_boxes(_truth(), _rng())
    self.assertTrue((found[_truth() == 2] == 2).all())
    where = np.argwhere(found)
    self.assertTrue((where.min(0) <= (1, 1, 6)).all())
    self.assertTrue((where.max(0) >= (3, 3, 17)).all())
    self.assertTrue((where.max(0) <= (4, 4, 19)).all())

  @parameterized.parameters(*volume_annotations.FAULTS)
  def test_faults(self, fault):
    for seed in range(5):
      found = volume_annotations.spoil(
          _truth(), _rng(seed), fault=fault, axis=2)
      self.assertEqual(found.shape, _truth().shape)
      self.assertContainsSubset(np.unique(found).tolist(), (0, 1, 2))
      self.assertTrue((found != _truth()).any())
      area = (found > 0).sum((0, 1))
      if fault == 'range_missing':
        self.assertEqual((area[6:18] == 0).sum(), 4)
      elif fault == 'shifted':
        by = np.flatnonzero(area)[0] - 6
        self.assertBetween(abs(by), 2, 5)
        np.testing.assert_array_equal(found, np.roll(_truth(), by, 2))
      elif fault == 'exchanged':
        np.testing.assert_array_equal(found, _truth()[::-1])
      elif fault == 'swapped':
        np.testing.assert_array_equal(
            *(np.sort(a.reshape(-1, 24), 1) for a in (found, _truth())))
      else:
        self.assertLess(np.unique(found).size, 3)

  def test_no_fault_and_no_object(self):
    np.testing.assert_array_equal(
        volume_annotations.spoil(_truth(), _rng(), fault='', axis=2), _truth())
    empty = np.zeros((3, 3, 3), np.uint8)
    for fault in volume_annotations.FAULTS:
      np.testing.assert_array_equal(volume_annotations.spoil(
          empty, _rng(), fault=fault, axis=0), empty)
    with self.assertRaisesRegex(ValueError, 'Unknown fault'):
      volume_annotations.spoil(_truth(), _rng(), fault='x', axis=2)

  def test_quality(self):
    plan = volume_annotations.Plan('slices', '')
    draw = lambda plan: volume_annotations.simulate(
        _truth(), _rng(), plan=plan, spacing_mm=(1, 1, 1))
    self.assertEqual(draw(plan).quality, 1)
    self.assertLess(draw(plan._replace(fault='exchanged')).quality, 0.5)

  def test_plans(self):
    plans = volume_annotations.plan_faults(
        20, _rng(), fault_fraction=0.3, kinds=('slices', 'box'))
    self.assertEqual(sum(p.kind == 'box' for p in plans), 10)
    faults = [p.fault for p in plans if p.fault]
    self.assertLen(faults, 6)
    self.assertEqual(set(faults), set(volume_annotations.FAULTS))


if __name__ == '__main__':
  absltest.main()
