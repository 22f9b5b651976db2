"""Tests for experiments.evaluation."""

import os

from absl.testing import absltest
import numpy as np

from experiments import evaluation
from experiments import reporting
from tests import tiny


def _records(faults):
  return [
      {'instance_id': i, 'fault': fault.encode(), 'id': b'case', 'kind': 3,
       'quality': 0.5}
      for i, fault in enumerate(faults)
  ]


class EvaluationTest(absltest.TestCase):

  def test_summary_by_hand(self):
    # Class 1: Dice 2*3/(6+1+1) = 0.75, then missed (0), then absent (nan).
    counts = np.zeros((3, 2, 3))
    counts[0, 1] = 3, 1, 1
    counts[1, 1] = 0, 0, 5
    summary = evaluation.summarize(counts, ('background', 'lesion'))
    self.assertAlmostEqual(summary['dice'], 0.375)
    self.assertEqual(summary['num_cases'], 3)
    self.assertEqual(summary['num_cases_counted'], 2)
    self.assertAlmostEqual(summary['per_class']['lesion']['iou'], 0.3)
    low, high = summary['dice_interval_95']
    self.assertEqual((low, high), (0, 0.75))

  def test_missing_a_structure_never_raises_the_mean(self):
    found, missed = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    found[:, 1], missed[0, 1] = (5, 5, 5), (5, 5, 5)
    missed[1, 1] = 0, 0, 10
    names = ('background', 'lesion')
    self.assertLess(evaluation.summarize(missed, names)['dice'],
                    evaluation.summarize(found, names)['dice'])

  def test_indicators_by_hand(self):
    records = _records(['', '', 'shifted', 'missing'])
    summary = evaluation.summarize_indicators(
        np.array([1.0, 0.5, 0.75, 0.0]), np.ones(4), records)
    # Pairs (good, faulty): 1 > .75, 1 > 0, .5 < .75, .5 > 0.
    self.assertEqual(summary['auroc'], 0.75)
    self.assertEqual(
        summary['auroc_by_fault'], {'missing': 1.0, 'shifted': 0.5})
    self.assertEqual(summary['mean_good'], 0.75)

  def test_indicators_that_never_moved_have_no_auroc(self):
    summary = evaluation.summarize_indicators(
        np.ones(2), np.zeros(2), _records(['', 'shifted']))
    self.assertNotIn('auroc', summary)

  def test_indicator_table_names_the_least_trusted_first(self):
    path = os.path.join(tiny.temp_dir(self), 'indicators.csv')
    evaluation.write_indicators(
        path, np.array([0.9, 0.1]), np.array([3, 4]), _records(['', 'missing']))
    with open(path, encoding='utf-8') as f:
      lines = f.read().splitlines()
    self.assertEqual(lines[1], 'case,0.100000,4,box,missing,0.500000')

  def test_overlay_paints_classes_and_greys_the_unlabelled(self):
    image = np.full((1, 3, 1), 255, np.uint8)
    painted = reporting.overlay(image, np.array([[0, 1, 255]], np.uint8))
    np.testing.assert_allclose(painted[0, 0], 1)
    self.assertGreater(painted[0, 1, 1], painted[0, 1, 0])  # Green.
    np.testing.assert_allclose(painted[0, 2], 0.85)


if __name__ == '__main__':
  absltest.main()
