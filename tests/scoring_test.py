"""Tests for experiments.evaluation.scoring."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.shared import cells
import numpy as np

from experiments.evaluation import scoring
from tests import tiny


def _structures(rng, *, in_3d):
  """Returns a random reference of up to three structures, and a prediction.

  The predicted structures are shifted and scaled versions of the true ones.
  """
  shape = tuple(rng.integers(5, 9, size=3) if in_3d else
                rng.integers(8, 24, size=2))
  grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), axis=-1)
  reference, prediction = (np.zeros(shape, np.int64) for _ in range(2))
  for c in range(1, 4):
    centre = rng.uniform(0, shape)
    radius = rng.uniform(0.5, max(shape) / 3)
    if rng.random() < 0.8:
      reference[np.linalg.norm(grid - centre, axis=-1) < radius] = c
    centre += rng.normal(scale=rng.choice([0.5, 3.0]), size=len(shape))
    radius *= rng.choice([0.3, 1.0, 3.0])
    prediction[np.linalg.norm(grid - centre, axis=-1) < radius] = c
  return reference, prediction


class EvaluationTest(parameterized.TestCase):

  def test_summary_by_hand(self):
    # The Dice of class 1 is 2*3/(6+1+1) = 0.75 in the first case. In the second
    # case, the class is missed (0); in the third, it is absent (nan).
    counts = np.zeros((3, 2, 3))
    counts[0, 1] = 3, 1, 1
    counts[1, 1] = 0, 0, 5
    summary = scoring.summarize(
        scoring.overlap_scores(counts), ('background', 'lesion'),
        list('abc'))
    self.assertAlmostEqual(summary['dice'], 0.375)
    self.assertEqual(summary['num_cases'], 3)
    self.assertEqual(summary['num_subjects'], 3)
    self.assertEqual(scoring.mean_dice(counts), summary['dice'])
    self.assertEqual(summary['num_cases_counted'], 2)
    self.assertAlmostEqual(summary['per_class']['lesion']['iou'], 0.3)
    low, high = summary['dice_interval_95']
    self.assertEqual((low, high), (0, 0.75))

  def test_missing_a_structure_never_raises_the_mean(self):
    found, missed = np.zeros((2, 2, 3)), np.zeros((2, 2, 3))
    found[:, 1], missed[0, 1] = (5, 5, 5), (5, 5, 5)
    missed[1, 1] = 0, 0, 10
    self.assertLess(
        scoring.mean_dice(missed), scoring.mean_dice(found))

  def test_scores_of_a_case_by_hand(self):
    # Two of three pixels of class 1 are found, and class 2 is missed. Class 3
    # is predicted only where the reference is unlabelled, so it does not count.
    label_map = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [2, 0, 0, 255]])
    prediction = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 3]])
    scores = scoring.score_case(
        prediction, label_map, num_classes=4, spacing=(2, 1), tolerance=1)
    np.testing.assert_allclose(scores['dice'], [np.nan, 0.8, 0, np.nan])
    np.testing.assert_allclose(scores['recall'], [np.nan, 2 / 3, 0, np.nan])
    diagonal = np.hypot(2 * 2, 3)
    np.testing.assert_allclose(
        scores['assd'], [np.nan, 1 / 5, diagonal, np.nan])
    self.assertEqual(scores['nsd'][1], 1)
    self.assertEqual(scores['nsd'][2], 0)

  @parameterized.parameters((False,), (True,))
  def test_deleting_what_overlaps_the_truth_never_improves_a_mean(
      self, in_3d):
    rng = np.random.default_rng([int(in_3d), in_3d])
    before, after = [], []
    while len(before) < 60:
      reference, prediction = _structures(rng, in_3d=in_3d)
      overlapping = [c for c in range(1, 4)
                     if np.any((prediction == c) & (reference == c))]
      if not overlapping:
        continue
      deleted = prediction == rng.choice(overlapping)
      spacing = tuple(rng.uniform(0.5, 3, size=reference.ndim))
      for scores, p in (
          (before, prediction), (after, np.where(deleted, 0, prediction))):
        scores.append(scoring.score_case(
            p, reference, num_classes=4, spacing=spacing, tolerance=1.0))
    for name in before[0]:
      sign = -1 if name in ('volume_error', 'hd95', 'assd') else 1
      full, pruned = (
          sign * scoring.case_means(np.stack([row[name] for row in rows]))
          for rows in (before, after))
      self.assertTrue((pruned <= full + 1e-9).all(), name)

  def test_unlabelled_padding_changes_nothing(self):
    rng = np.random.default_rng(0)
    for _ in range(30):
      label_map = rng.integers(0, 3, size=(7, 9))
      prediction = rng.integers(0, 3, size=(7, 9))
      pad = [tuple(rng.integers(0, 4, size=2)) for _ in range(2)]
      plain, padded = (
          scoring.score_case(p, t, num_classes=3, spacing=None, tolerance=1)
          for p, t in (
              (prediction, label_map),
              (np.pad(prediction, pad, mode='edge'),
               np.pad(label_map, pad, constant_values=255))))
      for name in plain:
        np.testing.assert_array_equal(plain[name], padded[name], name)

  def test_case_table_and_its_names(self):
    path = os.path.join(tiny.temp_dir(self), 'cases.csv')
    names = ['-a, "b"\n', '<script>', 'ü']
    scores = {'dice': np.array([[np.nan, 0.5], [np.nan, np.nan], [1, 0.25]])}
    scoring.write_cases(path, names, names, scores, ('background', 'le,s'))
    with open(path, encoding='utf-8', newline='') as f:
      rows = list(csv.DictReader(f))
    # The apostrophe keeps a spreadsheet from executing the name as a formula.
    self.assertEqual(rows[0]['id'], "'" + names[0])
    rows = list(map(cells.undo_row, rows))
    self.assertEqual([row['id'] for row in rows], names)
    self.assertEqual([row['dice_le,s'] for row in rows],
                     ['0.500000', '', '0.250000'])


if __name__ == '__main__':
  absltest.main()
