"""Tests of data_prep.volumes.planning."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.volumes import levels
from data_prep.volumes import planning

_MR = levels.make_levels('mr', [])


class SpacingTest(absltest.TestCase):

  def test_median(self):
    self.assertEqual(
        planning.target_spacing(
            [(1, 1, 1), (2, 1, 1.5), (3, 1, 9)], [(9, 9, 9)] * 3),
        (2.0, 1.0, 1.5))

  def test_thick_slices_take_the_tenth_percentile(self):
    spacings = [(1.5, 1.5, 5 + i / 2) for i in range(11)]
    thick, thin = [(200, 200, 10)] * 11, [(200, 200, 100)] * 11
    self.assertEqual(planning.target_spacing(spacings, thick), (1.5, 1.5, 5.5))
    self.assertEqual(planning.target_spacing(spacings, thin), (1.5, 1.5, 7.5))
    # The tenth percentile, 1, is finer than the spacing of the other axes, 2,
    # which is used instead.
    spacings = [(2, 2, 1)] * 3 + [(2, 2, 7)] * 4
    self.assertEqual(
        planning.target_spacing(spacings, thick[:7]), (2.0, 2.0, 2.0))


class PlanTest(absltest.TestCase):

  def test_hippocampi(self):
    """The patch size and the depth are those of nnU-Net's published plan."""
    plan = planning.make_plan((1, 1, 1), [(35, 50, 36)] * 80, _MR)
    self.assertEqual(plan.patch_size, (40, 56, 40))
    self.assertEqual(plan.strides, ((2, 2, 2),) * 3)
    self.assertEqual(plan.kernels, ((3, 3, 3),) * 4)
    self.assertEqual(plan.features, (16, 32, 64, 128))
    self.assertEqual(plan.chunk_size, (35, 50, 36))
    self.assertEqual(plan.batch_size, 2)

  def test_hearts(self):
    plan = planning.make_plan((1.25, 1.25, 5), [(256, 216, 10)] * 100, _MR)
    self.assertEqual(plan.patch_size, (256, 224, 10))
    self.assertEqual(plan.strides[:3], ((2, 2, 1), (2, 2, 1), (2, 2, 2)))
    self.assertEqual(plan.kernels[:3], ((3, 3, 1), (3, 3, 1), (3, 3, 3)))
    self.assertEqual(plan.batch_size, 4)

  def test_a_large_volume_is_cut_to_memory(self):
    plan = planning.make_plan((0.8, 0.8, 1), [(512, 512, 400)] * 50, _MR)
    self.assertLess(plan.memory_gib, 8)
    self.assertGreater(plan.memory_gib, 6)
    self.assertEqual(plan.chunk_size, (64, 64, 64))
    self.assertEqual(plan.batch_size, 2)

  def test_one_slice(self):
    plan = planning.make_plan((1, 1, 8), [(64, 64, 1)] * 3, _MR)
    self.assertEqual(plan.patch_size, (64, 64, 1))
    self.assertEqual(plan.strides, ((2, 2, 1),) * 4)

  def test_memory_by_hand(self):
    plan = planning.make_plan((1, 1, 1), [(4, 4, 4)] * 9, _MR)
    self.assertEqual((plan.strides, plan.kernels), ((), ((3, 3, 3),)))
    self.assertEqual(plan.memory_gib, round(4 * 2 * 14 * 16 * 64 / 2**30, 2))

  def test_describe(self):
    text = planning.describe(
        planning.make_plan((1, 1, 2.5), [(35, 50, 36)] * 80, _MR))
    self.assertIn('spacing 1 x 1 x 2.5 mm in RAS', text)
    self.assertIn('deviations of the body from -5 to 10', text)


class FileTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))
    self.plan = planning.make_plan((1, 1, 5), [(35, 50, 12)] * 80, _MR)
    planning.write_plan(self.folder, self.plan)
    self.path = self.folder / planning.FILE

  def test_there_and_back(self):
    self.assertEqual(planning.read_plan(self.path), (self.plan, []))

  @parameterized.parameters(
      (dict(spacing_mm=[1, 0, 1]), 'spacing_mm: expected three numbers above'),
      (dict(frame='RRS'), 'frame: expected three letters'),
      (dict(patch_size=[41, 56, 12]), 'axis 0 is no multiple of the product of '
       'its strides, 8, found 41; use 48'),
      (dict(batch_size=True), 'batch_size: expected a whole number above 0'),
      (dict(features=[]), 'features: expected a list of whole numbers'),
      (dict(features=[8]), 'strides: expected 0 triples for 1 level'),
      (dict(strides=[[3, 2, 1]]), 'strides: expected a list of triples of 1'),
      (dict(kernels=[[2, 2, 2]]), 'kernels: expected a list of triples of odd'),
      (dict(intensities={**_MR._asdict(), 'low': 11}), 'intensities: expected'),
      (dict(depth=3), "unknown field, found depth"),
      (dict(plan_version=2), 'expected an object with "plan_version": 1'),
  )
  def test_one_line_per_mistake(self, change, expected):
    fields = json.loads(self.path.read_text()) | change
    self.path.write_text(json.dumps(fields))
    plan, problems = planning.read_plan(self.path)
    self.assertIsNone(plan)
    self.assertIn(expected, str(problems[0]))
    for problem in problems:
      self.assertStartsWith(str(problem), 'plan.json')
      self.assertLessEqual(len(str(problem)), 200)

  def test_no_json_and_missing_fields(self):
    self.path.write_text('{')
    self.assertIn('not JSON', str(planning.read_plan(self.path)[1][0]))
    self.path.write_text('{"plan_version": 1}')
    self.assertLen(planning.read_plan(self.path)[1], len(planning.Plan._fields))


if __name__ == '__main__':
  absltest.main()
