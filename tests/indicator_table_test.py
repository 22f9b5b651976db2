"""Tests of experiments.evaluation.indicator_table."""

import functools
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import csv_files
from experiments.evaluation import indicator_table
from tests import tiny


def _records(faults):
  return [
      {'instance_id': i, 'fault': fault.encode(), 'id': b'case', 'kind': 3,
       'quality': 0.5}
      for i, fault in enumerate(faults)
  ]


class IndicatorTableTest(parameterized.TestCase):

  def test_indicators_by_hand(self):
    records = _records(['', '', 'shifted', 'missing'])
    summary = indicator_table.summarize(
        np.array([1.0, 0.5, 0.75, 0.0]), np.ones(4), records)
    # Of the four pairs (good, faulty), three are in the right order: 1 > .75,
    # 1 > 0 and .5 > 0, but .5 < .75.
    self.assertEqual(summary['auroc'], 0.75)
    self.assertEqual(
        summary['auroc_by_fault'], {'missing': 1.0, 'shifted': 0.5})
    self.assertEqual(summary['mean_good'], 0.75)

  def test_indicators_that_never_moved_have_no_auroc(self):
    summary = indicator_table.summarize(
        np.ones(2), np.zeros(2), _records(['', 'shifted']))
    self.assertNotIn('auroc', summary)

  def test_indicator_table_names_the_least_trusted_first(self):
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    indicator_table.write(
        path, np.array([0.9, 0.1]), np.array([3, 4]), _records(['', 'missing']))
    with open(path, encoding='utf-8') as f:
      lines = f.read().splitlines()
    self.assertEqual(lines[1], 'case,0.100000,4,box,missing,0.500000')

  def test_of_many_instances_only_the_least_trusted_are_shown(self):
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    write = functools.partial(
        indicator_table.write, path, np.float32([0.9, 0.1, 0.5]),
        np.array([3, 4, 5]), _records(['', 'missing', 'shifted']))
    self.assertEqual(write(), '')
    with open(path, encoding='utf-8') as f:
      whole = f.read().splitlines()
    with mock.patch.object(csv_files, 'MOST_ROWS', 2):
      self.assertEqual(
          write(), 'indicators.csv shows 2 of 3 rows, indicators.npz has all.')
    with open(path, encoding='utf-8') as f:
      self.assertEqual(f.read().splitlines(), whole[:3])
    with np.load(csv_files.beside(path)) as columns:
      self.assertEqual([*columns], whole[0].split(','))
      np.testing.assert_array_equal(
          columns['indicator'], np.float32([0.9, 0.1, 0.5]))
      self.assertEqual(columns['kind'].tolist(), ['box'] * 3)
      self.assertEqual(columns['fault'].tolist(), ['', 'missing', 'shifted'])

  @parameterized.parameters((), (2,))
  def test_without_weak_instances_the_table_is_a_header(self, *classes):
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    indicator_table.write(
        path, np.zeros((0, *classes)), np.zeros((0, *classes), np.int32), [],
        ('background', 'organ', 'lesion'))
    with open(path, encoding='utf-8') as f:
      lines = f.read().splitlines()
    self.assertLen(lines, 1)
    self.assertStartsWith(
        lines[0], 'id,indicator,num_updates,kind,fault,quality')

  def test_indicators_of_classes_have_columns(self):
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    weights = np.array([[1.0, 0.5], [0.25, 0.0]])
    records = _records(['', 'missing'])
    indicator_table.write(
        path, weights, np.array([[3, 3], [4, 5]]), records,
        ('background', 'organ', 'lesion'))
    with open(path, encoding='utf-8') as f:
      lines = f.read().splitlines()
    self.assertEqual(lines, [
        'id,indicator,num_updates,kind,fault,quality,indicator_organ,'
        'indicator_lesion',
        'case,0.125000,5,box,missing,0.500000,0.250000,0.000000',
        'case,0.750000,3,box,,0.500000,1.000000,0.500000'])
    summary = indicator_table.summarize(weights, np.ones((2, 2)), records)
    self.assertEqual(summary['mean_faulty'], 0.125)


if __name__ == '__main__':
  absltest.main()
