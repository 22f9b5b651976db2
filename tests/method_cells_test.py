"""Tests for the folds of experiments.benchmarks.method_cells."""

import pathlib
import tempfile

from absl.testing import absltest

from data_prep import manifest as manifest_lib
from experiments.benchmarks import folds as folds_lib
from tests import binaries

_TRUTH = {'kind': 'mask', 'path': 'truth.png'}
_BOX = {'kind': 'box', 'boxes': [], 'labels': []}


def _row(subject, number, role='weak'):
  weak = role == 'weak'
  return manifest_lib.Row(
      f'{subject}{number}', 'image.png', 'train', role,
      _BOX if weak else _TRUTH, subject,
      evaluation={'truth': _TRUTH} if weak else None)


class MethodCellsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self._module = binaries.load('experiments.benchmarks.method_cells')
    self._rows = [
        _row(s, i, 'strong' if not i else 'weak')
        for s, n in (('a', 5), ('b', 2), ('c', 4), ('d', 3))
        for i in range(n)]

  def test_the_largest_first_to_the_smallest(self):
    # The subject with 5 images goes to fold 0, that with 4 to fold 1, and that
    # with 3 to fold 2. The one with 2 goes to fold 2 as well, which then has 5.
    self.assertEqual(
        folds_lib.deal(self._rows, 3), {'a': 0, 'c': 1, 'd': 2, 'b': 2})

  def test_no_subject_is_in_two_splits_and_each_is_tested_on_once(self):
    folds = folds_lib.deal(self._rows, 3)
    tested = []
    for fold in range(3):
      rows = folds_lib.fold_rows(self._rows, folds, fold)
      self.assertLen(rows, len(self._rows))
      self.assertLen({(row.subject, row.split) for row in rows}, 4)
      tested += [row.id for row in rows if row.split != 'train']
    self.assertCountEqual(tested, [row.id for row in self._rows])

  def test_subjects_held_out_are_val_and_test_in_turn(self):
    folds = {'a': 0, 'b': 1, 'c': 1, 'd': 1}
    rows = folds_lib.fold_rows(self._rows, folds, 1)
    self.assertEqual(
        {row.subject: row.split for row in rows},
        {'a': 'train', 'b': 'val', 'c': 'test', 'd': 'val'})

  def test_masks_judge_and_annotations_train(self):
    folds = folds_lib.deal(self._rows, 3)
    for before, after in zip(
        self._rows, folds_lib.fold_rows(self._rows, folds, 0), strict=True):
      if after.split == 'train':
        self.assertEqual(after, before)
      else:
        self.assertEqual((after.role, after.annotation), ('strong', _TRUTH))

  def test_a_changed_method(self):
    changes = [
        'light:uniform:supervision.weak_scale=0.3;input.strong_batch_size=12']
    config = self._module.make_config('light', 'unet_small', changes)
    self.assertEqual(config.weighting.name, 'uniform')
    self.assertEqual(config.supervision.weak_scale, 0.3)
    self.assertEqual(config.input.strong_batch_size, 12)
    config = self._module.make_config('uniform', 'unet_small', changes)
    self.assertEqual(config.supervision.weak_scale, 1.0)

  def test_all_images_held_out_that_count_are_read(self):
    with tempfile.TemporaryDirectory() as folder:
      for name, lines in (
          ('val', '1,x,0.5,0.1,0.7\n4,x,0.8,0.1,\n'),
          ('test', '2,y,,0.1,0.25\n3,y,,,\n')):
        pathlib.Path(folder, f'cases_{name}.csv').write_text(
            f'id,subject,dice_a,iou_a,dice_b\n{lines}', encoding='utf-8')
      self.assertEqual(
          folds_lib.read_held_out(folder),
          {'x': [0.6, 0.8], 'y': [0.25]})

  def test_without_faults_only_planted_ones_go(self):
    faulty = self._rows[1]._replace(
        evaluation={'truth': _TRUTH, 'fault': 'shifted'})
    sound = self._rows[2]._replace(evaluation={'truth': _TRUTH, 'fault': ''})
    rows = [self._rows[0], faulty, sound]
    self.assertEqual(
        folds_lib.sound_rows(rows), [self._rows[0], sound])


if __name__ == '__main__':
  absltest.main()
