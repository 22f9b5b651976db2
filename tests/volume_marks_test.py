"""Tests of data_prep.drawing.volume_marks."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import volume_annotations
from data_prep.drawing import volume_marks
from data_prep.shared import geometry
import numpy as np

_NEW = ('scribble', 'extreme_points', 'points', 'coarse_mask', 'tag')
_SPACING_MM = ((1.0, 1.0, 1.0), (5.0, 0.5, 0.5))


def _truth():
  """Returns two objects of class 1, one of class 2, and a rim of unknowns."""
  label = np.zeros((14, 20, 24), np.uint8)
  label[1:7, 2:9, 6:18] = 1
  label[3:5, 3:6, 8:12] = 2
  label[9:13, 12:19, 10:20] = 1
  label[:, :, -1] = 255
  return label


def _draw(kind, *, seed=0, fault='', truth=None, spacing_mm=(1.0, 1.0, 1.0)):
  return volume_annotations.simulate(
      _truth() if truth is None else truth, np.random.default_rng(seed),
      plan=volume_annotations.Plan(kind, fault), spacing_mm=spacing_mm)


class VolumeMarksTest(parameterized.TestCase):

  def test_objects(self):
    found = [(value, [(s.start, s.stop) for s in box], int(mask.sum()))
             for value, box, mask in volume_marks.objects(_truth())]
    self.assertEqual(found, [
        (1, [(1, 7), (2, 9), (6, 18)], 6 * 7 * 12 - 24),
        (1, [(9, 13), (12, 19), (10, 20)], 4 * 7 * 10),
        (2, [(3, 5), (3, 6), (8, 12)], 24)])

  @parameterized.product(kind=_NEW, fault=('', 'exchanged', 'organ_missing'))
  def test_a_seed_decides(self, kind, fault):
    first, again = (_draw(kind, seed=3, fault=fault) for _ in range(2))
    np.testing.assert_array_equal(first.label, again.label)
    np.testing.assert_array_equal(first.spoilt, again.spoilt)
    self.assertEqual(
        (first.quality, first.present), (again.quality, again.present))
    self.assertEqual(first.label.dtype, np.uint8)
    self.assertEqual(first.label.shape, _truth().shape)
    others = [_draw(kind, seed=s, fault=fault).label for s in range(4, 14)]
    if kind not in ('coarse_mask', 'tag'):
      self.assertFalse(all(np.array_equal(first.label, x) for x in others))

  @parameterized.product(
      kind=('scribble', 'points'), spacing_mm=_SPACING_MM, seed=tuple(range(4)))
  def test_marks_stay_inside_their_class(self, kind, spacing_mm, seed):
    drawn = _draw(kind, seed=seed, spacing_mm=spacing_mm)
    known = drawn.label != 255
    np.testing.assert_array_equal(drawn.label[known], _truth()[known])
    self.assertContainsSubset(
        [0, 1, 2] if kind == 'points' else [0, 1], drawn.label[known])
    self.assertEqual(drawn.quality, 1)
    self.assertIsNone(drawn.present)

  @parameterized.product(spacing_mm=_SPACING_MM, seed=tuple(range(3)))
  def test_scribbles_are_those_of_some_slices(self, spacing_mm, seed):
    axis = 0 if spacing_mm[0] == 5 else 2
    label = np.moveaxis(_draw(
        'scribble', seed=seed, spacing_mm=spacing_mm).label, axis, 0)
    truth = np.moveaxis(_truth(), axis, 0)
    drawn = np.flatnonzero((label != 255).any((1, 2)))
    self.assertBetween(len(drawn), 1, 2 + len(label) // 8)
    for k in drawn:
      # Each object that the slice shows has a stroke, as has the background.
      for value, mask in [*geometry.components(truth[k]), (0, truth[k] == 0)]:
        self.assertTrue(not mask.any() or (label[k][mask] == value).any())

  @parameterized.parameters(*range(4))
  def test_each_object_has_its_points(self, seed):
    label = _draw('points', seed=seed).label
    for value, box, mask in volume_marks.objects(_truth()):
      inside = label[box][mask]
      self.assertContainsSubset(inside, [value, 255])
      # A point is at most a disc of 13 voxels, and no object has more than
      # three of them in each of the three slices.
      self.assertBetween((inside == value).sum(), 1, 3 * 3 * 13)
    planes = (label != 255).any((0, 1))
    self.assertBetween(planes.sum(), 1, 3)
    # All slices of a box have its largest area, of which the first is taken.
    self.assertContainsSubset(np.flatnonzero(planes), [6, 8, 10])

  def test_discs_do_not_leave_their_class(self):
    seen = np.zeros((9, 9), np.uint8)
    seen[2:7, 2:7] = 1
    for centre, number in (((4, 4), 13), ((3, 4), 5), ((2, 4), 1)):
      drawn = np.full_like(seen, 255)
      volume_marks._mark(drawn, seen, centre, 1)
      self.assertEqual((drawn == 1).sum(), number)
      self.assertTrue((seen[drawn == 1] == 1).all())

  @parameterized.product(spacing_mm=_SPACING_MM, seed=tuple(range(3)))
  def test_extreme_points_touch_the_six_faces(self, spacing_mm, seed):
    label = _draw(
        'extreme_points', seed=seed, spacing_mm=spacing_mm).label
    truth, outside = _truth(), np.ones(_truth().shape, bool)
    for value, box, mask in volume_marks.objects(truth):
      outside[box] = False
      marked = mask & (label[box] == value)
      for i in range(3):
        faces = np.moveaxis(marked, i, 0)
        self.assertTrue(faces[0].any() and faces[-1].any())
    is_point = (label > 0) & (label != 255)
    np.testing.assert_array_equal(label[is_point], truth[is_point])
    # Outside of the tight boxes is background, or what nobody knows.
    np.testing.assert_array_equal(label[outside], truth[outside])
    self.assertTrue((label[~outside & ~is_point] == 255).all())

  def test_an_object_of_one_voxel_has_one_extreme_point(self):
    truth = np.zeros((5, 5, 5), np.uint8)
    truth[2, 3, 1] = 4
    np.testing.assert_array_equal(
        _draw('extreme_points', truth=truth).label, truth)

  @parameterized.parameters(*range(6))
  def test_coarse_masks_are_made_of_blocks(self, seed):
    truth = np.zeros((64, 64, 16), np.uint8)
    truth[10:50, 12:40, 2:14] = 1
    truth[30, 30, 6] = 2  # Vanishes in any block of more than a few voxels.
    label = _draw(
        'coarse_mask', seed=seed, truth=truth, spacing_mm=(1, 1, 4)).label
    self.assertEqual(label[30, 30, 6], 2)
    truth[30, 30, 6] = 1
    drawn = _draw(
        'coarse_mask', seed=seed, truth=truth, spacing_mm=(1, 1, 4))
    sides = []
    for axis in range(3):
      planes = np.moveaxis(drawn.label, axis, 0)
      steps = np.flatnonzero((planes[1:] != planes[:-1]).any((1, 2))) + 1
      sides.append(int(np.gcd.reduce(steps)))
    # 1 / 32 to 1 / 9 of 64 mm is 2 to 7 voxels, and up to 2 thick slices.
    self.assertGreaterEqual(min(sides[:2]), 2)
    self.assertGreater(drawn.quality, 0.6)
    np.testing.assert_array_equal(drawn.label, geometry.low_resolution(
        truth, block=_block_of(seed)))

  def test_tags_name_the_classes(self):
    drawn = _draw('tag')
    self.assertEqual((drawn.present, drawn.quality), ([1, 2], 1))
    self.assertTrue((drawn.label == 255).all())
    named = [_draw('tag', seed=s, fault='organ_missing').present
             for s in range(20)]
    self.assertEqual({tuple(n) for n in named}, {(1,), (2,)})
    empty = np.zeros((3, 3, 3), np.uint8)
    self.assertEqual(_draw('tag', truth=empty).present, [])

  def test_a_tag_can_only_miss_a_class(self):
    plans = volume_annotations.plan_faults(
        40, np.random.default_rng(0), fault_fraction=0.5, kinds=('box', 'tag'))
    self.assertEqual(sum(p.fault != '' for p in plans), 20)
    self.assertEqual(
        {p.fault for p in plans if p.kind == 'tag'}, {'', 'organ_missing'})
    self.assertEqual({p.fault for p in plans if p.kind == 'box'},
                     {'', *volume_annotations.FAULTS})

  @parameterized.parameters(*_NEW)
  def test_volumes_without_objects(self, kind):
    empty = np.zeros((4, 5, 6), np.uint8)
    label = _draw(kind, truth=empty, fault='shifted').label
    self.assertContainsSubset(np.unique(label).tolist(), [0, 255])
    self.assertEqual((label == 0).any(), kind != 'tag')
    unknown = np.full((4, 5, 6), 255, np.uint8)
    self.assertTrue((_draw(kind, truth=unknown).label == 255).all())

  @parameterized.product(
      kind=('scribble', 'points', 'coarse_mask', 'extreme_points'),
      fault=('exchanged', 'shifted'))
  def test_faults_are_seen_in_the_marks(self, kind, fault):
    drawn = _draw(kind, fault=fault)
    known = drawn.label != 255
    self.assertTrue((drawn.label != _truth())[known].any())
    self.assertLess(drawn.quality, 0.9)

  def test_unknown_kinds_are_refused(self):
    with self.assertRaisesRegex(ValueError, "Unknown kind='x'; known: "):
      _draw('x')


def _block_of(seed):
  """Returns the block that `draw_coarse_mask` draws for 64 x 64 x 16 voxels."""
  side_mm = np.random.default_rng(seed).uniform(1 / 32, 1 / 9) * 64
  return [max(1, round(side_mm / s)) for s in (1, 1, 4)]


if __name__ == '__main__':
  absltest.main()
