"""Tests for the folds of experiments.benchmarks.method_folds."""

from absl.testing import absltest

from data_prep import manifest as manifest_lib
from tests import binaries

_TRUTH = {'kind': 'mask', 'path': 'truth.png'}
_BOX = {'kind': 'box', 'boxes': [], 'labels': []}


def _row(subject, number, role='weak'):
  weak = role == 'weak'
  return manifest_lib.Row(
      f'{subject}{number}', 'image.png', 'train', role,
      _BOX if weak else _TRUTH, subject,
      evaluation={'truth': _TRUTH} if weak else None)


class MethodFoldsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self._module = binaries.load('experiments.benchmarks.method_folds')
    self._rows = [
        _row(s, i, 'strong' if not i else 'weak')
        for s, n in (('a', 5), ('b', 2), ('c', 4), ('d', 3))
        for i in range(n)]

  def test_the_largest_first_to_the_smallest(self):
    # 5 to fold 0, 4 to 1, 3 to 2, 2 to 2 again, which then has 5.
    self.assertEqual(
        self._module.deal(self._rows, 3), {'a': 0, 'c': 1, 'd': 2, 'b': 2})

  def test_no_subject_is_in_two_splits_and_each_is_tested_on_once(self):
    folds = self._module.deal(self._rows, 3)
    tested = []
    for fold in range(3):
      rows = self._module.fold_rows(self._rows, folds, fold)
      self.assertLen(rows, len(self._rows))
      splits = {(row.subject, row.split) for row in rows}
      self.assertLen(splits, 4)
      self.assertLen({split for _, split in splits}, 3)
      tested += [row.id for row in rows if row.split == 'test']
    self.assertCountEqual(tested, [row.id for row in self._rows])

  def test_masks_judge_and_annotations_train(self):
    folds = self._module.deal(self._rows, 3)
    for before, after in zip(
        self._rows, self._module.fold_rows(self._rows, folds, 0), strict=True):
      if after.split == 'train':
        self.assertEqual(after, before)
      else:
        self.assertEqual((after.role, after.annotation), ('strong', _TRUTH))


if __name__ == '__main__':
  absltest.main()
