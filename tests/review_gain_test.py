"""Tests of what minutes of correction buy: the plan, the counts, the tables."""

import pathlib
import tempfile

from absl.testing import absltest
from data_prep import manifest as manifest_lib
from data_prep.sets import reviewed_set
import numpy as np
from PIL import Image

from experiments.benchmarks import review_gain_table
from tests import binaries
from tests import tiny

# Boxes take .2 minutes, polygons 1.5.
_TABLE = {
    'id': ['a', 'b', 'c', 'd'], 'kind': ['box', 'polygon', 'box', 'polygon'],
    'site': [''] * 4, 'subject': ['1', '2', '3', '4'],
    'fault': ['missing', '', '', 'shifted'],
    'score': [0.9, 0.8, 0.1, 0.7], 'disagreement': [0.5, 0.1, 0.2, 0.9],
    'loss': [1.0, 2.0, 3.0, 0.5]}


def _cell(order, minutes, seed, *dice):
  return {'order': order, 'minutes': minutes, 'seed': seed, 'num_drawn': 7,
          'num_faults_corrected': 5,
          'blocks': {f'v{i}': [10, d] for i, d in enumerate(dice)}}


class FaultsTest(absltest.TestCase):

  def test_orders(self):
    for order, expected in (
        ('audit', [0, 1, 3, 2]), ('disagreement', [3, 0, 2, 1]),
        ('loss', [2, 1, 0, 3]), ('expected_gain', [0, 3, 2, 1])):
      found = review_gain_table.choose(_TABLE, order, np.inf, 0)
      self.assertEqual(found.tolist(), expected, order)

  def test_list_charges_each_annotation(self):
    # The box, .2, and then the good polygon, 1.5; the other one fits at 3.2.
    found = review_gain_table.count_faults(
        _TABLE, 'audit', 'list', [0.1, 0.2, 1.7, 3.1, 3.2])
    np.testing.assert_array_equal(found, [0, 1, 1, 1, 2])

  def test_page_charges_looks_and_faults(self):
    # .05 + .2, a look of .05, and .05 + 1.5.
    found = review_gain_table.count_faults(
        _TABLE, 'audit', 'page', [0.2, 0.25, 0.3, 1.84, 1.85])
    np.testing.assert_array_equal(found, [0, 1, 1, 1, 2])

  def test_exact_charges_masks(self):
    found = review_gain_table.count_faults(
        _TABLE, 'audit', 'exact', [4.04, 4.05, 8.14, 8.15])
    np.testing.assert_array_equal(found, [0, 1, 1, 2])

  def test_first_minute(self):
    minutes, values = np.array([0.0, 10, 20]), np.array([0.5, 0.6, 0.5])
    self.assertAlmostEqual(
        review_gain_table.first_minute(minutes, values, 0.55), 5)
    self.assertEqual(review_gain_table.first_minute(minutes, values, 0.5), 0)
    self.assertEqual(
        review_gain_table.first_minute(minutes, values, 0.7), float('inf'))


class DiceTest(absltest.TestCase):

  def test_differences_are_paired_by_block(self):
    text = review_gain_table.dice_to_markdown([
        _cell('none', 0, 0, 0.2, 0.8), _cell('random', 60, 0, 0.3, 0.9),
        _cell('audit', 60, 0, 0.4, 1.0)])
    self.assertIn(
        '| none | 0 | 0 | 7 | 5 | 0.500 |  |  |', text)
    self.assertIn(
        '| audit | 60 | 0 | 7 | 5 | 0.700 | +0.200 (+0.200 to +0.200) '
        '| +0.100 (+0.100 to +0.100) |', text)

  def test_ratio_of_minutes(self):
    cells = [_cell('none', 0, 0, 0.5, 0.5)]
    for minutes in review_gain_table.MINUTES:
      cells.append(_cell('random', minutes, 0, *[0.5 + minutes / 1000] * 2))
      cells.append(_cell('audit', minutes, 0, *[0.5 + minutes / 500] * 2))
    np.testing.assert_allclose(
        review_gain_table.minutes_ratio(cells, 'audit', 60), [0.5] * 3)
    self.assertIsNone(review_gain_table.minutes_ratio(cells, 'loss', 60))


class ReviewGainTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self._module = binaries.load('experiments.benchmarks.review_gain')

  def test_plan_begins_with_an_hour(self):
    plan = self._module.plan(2)
    self.assertEqual(
        [cell.name for cell in plan[:5]],
        ['none-0-seed0', 'audit-60-seed0', 'expected_gain-60-seed0',
         'random-60-seed0', 'none-0-seed1'])
    self.assertEqual(plan[-1].name, 'audit-60-seed1-scratch')
    self.assertLen({cell.name for cell in plan}, 2 * (1 + 5 * 4 + 1))

  def test_decisions_are_applied_as_prepare_does(self):
    data_dir = tiny.data_dir()
    source = manifest_lib.read_manifest(
        pathlib.Path(data_dir, 'manifest.jsonl'))
    faulty = [row for row in source.rows
              if row.role == 'weak' and row.evaluation['fault']]
    ids = [row.id for row in faulty[:2]]
    with tempfile.TemporaryDirectory() as folder:
      journal = self._module.write_review(
          pathlib.Path(folder, 'review'), 'run', data_dir, ids, seed=0)
      rows = {row.id: row for row in reviewed_set.read(str(journal)).rows}
      for number, row in enumerate(faulty[:2]):
        self.assertEqual(rows[row.id].role, 'weak')
        self.assertEqual(rows[row.id].annotation['kind'], 'coarse_mask')
        self.assertEqual(rows[row.id].evaluation['fault'], '')
        mask = np.asarray(Image.open(
            pathlib.Path(folder, 'review', 'masks', f'{number}.png')))
        again = self._module.redraw(row, source.root, seed=0, num_classes=2)
        np.testing.assert_array_equal(mask, again)
        self.assertTrue(mask.any())
      self.assertEqual(
          sum(rows[row.id] != row for row in source.rows), len(ids))


if __name__ == '__main__':
  absltest.main()
