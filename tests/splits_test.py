"""Tests of data_prep.splits."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import manifest as manifest_lib
from data_prep import splits
from data_prep.benchmarks import split_leaks
import numpy as np

_MASK = {'kind': 'mask', 'path': 'm.png'}


def _row(row_id, subject='', site='', split='', annotation=_MASK):
  return manifest_lib.Row(
      row_id, f'{row_id}.png', split, '', annotation, subject=subject,
      site=site)


class AssignSplitsTest(parameterized.TestCase):

  @parameterized.parameters('subject', 'site')
  def test_nothing_leaks(self, by):
    for seed in range(150):
      rng = np.random.default_rng(seed)
      rows, presence = split_leaks.random_set(rng)
      try:
        found = splits.assign_splits(
            rows, by=by, seed=seed, presence=presence)
      except ValueError as error:
        self.assertIn('left for', str(error))
        continue
      self.assertEqual(set(found), {row.id for row in rows})
      for field in ('subject', by):
        self.assertEqual(split_leaks.count_cut(rows, found, field), 0)
      for row in rows:
        if row.annotation['kind'] != 'mask':
          self.assertEqual(found[row.id], 'train')
      self.assertEqual(set(found.values()), {'train', 'val', 'test'})
      shuffled = [rows[i] for i in rng.permutation(len(rows))]
      self.assertEqual(found, splits.assign_splits(
          shuffled, by=by, seed=seed, presence=presence))

  def test_sizes_and_classes(self):
    rng = np.random.default_rng(0)
    rows = [_row(f'i{i:03d}', subject=f's{i // 2}') for i in range(200)]
    presence = {
        row.id: {1} | ({2} if rng.uniform() < 0.1 else set()) for row in rows}
    found = splits.assign_splits(rows, seed=0, presence=presence)
    for split, share in zip(
        manifest_lib.SPLITS, (0.7, 0.1, 0.2), strict=True):
      ids = [k for k, v in found.items() if v == split]
      self.assertAlmostEqual(len(ids), 200 * share, delta=2)
      rare = sum(2 in presence[k] for k in ids)
      total = sum(2 in v for v in presence.values())
      self.assertAlmostEqual(rare, total * share, delta=1.5)
    other = splits.assign_splits(rows, seed=1, presence=presence)
    self.assertNotEqual(found, other)

  def test_what_is_known_is_kept(self):
    rows = [_row('a', 's1', split='test'), _row('b', 's1'), _row('c', 's2'),
            _row('d', 's3'), _row('e', 's4')]
    found = splits.assign_splits(rows, seed=0, presence={})
    self.assertEqual((found['a'], found['b']), ('test', 'test'))

  @parameterized.parameters(
      ([_row('a', 's1', split='test'), _row('b', 's1', split='val')], {},
       "'s1' is in two splits: a in test, b in val"),
      ([_row('a'), _row('b')], {}, '2 subjects with exact masks only'),
      ([_row('a'), _row('b')], {'by': 'site'}, 'id a has no site'),
      ([_row('a')], {'fractions': (0.5, 0.1, 0.1)}, 'sum 1'),
      ([_row('a')], {'by': 'x'}, 'Unknown by'),
  )
  def test_refuses(self, rows, options, expected):
    with self.assertRaisesRegex(ValueError, expected):
      splits.assign_splits(rows, seed=0, presence={}, **options)

  def test_folds(self):
    for seed in range(30):
      rows, presence = split_leaks.random_set(np.random.default_rng(seed))
      found = splits.k_folds(rows, num_folds=3, seed=seed, presence=presence)
      self.assertEqual(set(found.values()), {0, 1, 2})
      self.assertEqual(split_leaks.count_cut(rows, found, 'subject'), 0)
    with self.assertRaisesRegex(ValueError, '3 folds of 1 subjects'):
      splits.k_folds([_row('a')], num_folds=3, seed=0, presence={})


class ChooseStrongTest(parameterized.TestCase):

  def _rows(self):
    return [_row(f'i{i:02d}', subject=f's{i // 4}') for i in range(40)]

  @parameterized.parameters(
      (splits.Budget(fraction=0.1), 4),
      (splits.Budget(fraction=0.001), 1),
      (splits.Budget(fraction=1.0), 40),
      # 40 boxes take 8 minutes; each mask instead of a box takes 3.8 more.
      (splits.Budget(minutes=8 + 5 * 3.8), 5),
      (splits.Budget(minutes=8 + 5 * 3.8 - 0.1), 4),
      (splits.Budget(minutes=1000), 40),
      (splits.Budget(minutes=30, weak_kind='box', minutes_per={
          'mask': 10, 'box': 0.5}), 1),
  )
  def test_size(self, budget, expected):
    chosen = splits.choose_strong(
        self._rows(), budget=budget, seed=0, presence={})
    self.assertLen(chosen, expected)

  def test_shows_every_class(self):
    presence = {'i07': {1, 2}, 'i30': {3}, **{f'i{i:02d}': {1}
                                              for i in range(5)}}
    chosen = splits.choose_strong(
        self._rows(), budget=splits.Budget(fraction=0.1), seed=0,
        presence=presence)
    self.assertContainsSubset({'i07', 'i30'}, chosen)

  def test_whole_subjects(self):
    chosen = splits.choose_strong(
        self._rows(), budget=splits.Budget(fraction=0.2), seed=0, presence={},
        whole_subjects=True)
    self.assertLen(chosen, 8)
    self.assertLen({int(name[1:]) // 4 for name in chosen}, 2)

  @parameterized.parameters(
      (splits.Budget(), 'either a fraction or minutes'),
      (splits.Budget(fraction=0.0), r'not in \(0, 1\]'),
      (splits.Budget(minutes=3.0), 'do not pay one exact mask'),
  )
  def test_refuses(self, budget, expected):
    with self.assertRaisesRegex(ValueError, expected):
      splits.choose_strong(self._rows(), budget=budget, seed=0, presence={})


class FileTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / 'splits.csv'
    self.rows = [
        _row('a', 's1', split='train')._replace(role='strong'),
        _row('b,"c', 's2', split='test')._replace(role='strong')]

  def test_there_and_back(self):
    splits.write_splits(self.path, self.rows[::-1], folds={'a': 1})
    entries, problems = splits.read_splits(self.path)
    self.assertEqual(problems, [])
    self.assertEqual(entries, [
        splits.Entry('a', 's1', 'train', 'strong', 1),
        splits.Entry('b,"c', 's2', 'test', 'strong', None)])
    bare = [r._replace(split='', role='') for r in self.rows]
    rows, problems = splits.apply_splits(bare, entries)
    self.assertEqual((rows, problems), (self.rows, []))

  @parameterized.parameters(
      ('id,subject,split,role\na,s1,train,strong\n', 'not listed'),
      ('id,split\na,train\n"b,""c",test\nx,val\n', 'listed, but not'),
      ('id,split\na,train\na,train\n"b,""c",test\n', 'listed twice'),
      ('id,split\na,trian\n', "expected one of train, val, test, found 'tria"),
      ('id,split,role\na,train,stong\n', 'expected one of strong, weak'),
      ('id,split,fold\na,train,-1\n', 'expected a number from 0'),
      ('id,split,subject\na,train,s9\n"b,""c",test,s2\n', "is 's1' in the set"),
      ('id,split\na\n', 'expected 2 columns'),
      ('name,split\n', 'expected the columns'),
      ('', 'expected the columns'),
      ('id,split\n"a,train\n', 'not CSV'),
  )
  def test_edited_wrongly(self, text, expected):
    self.path.write_text(text, encoding='utf-8')
    entries, problems = splits.read_splits(self.path)
    problems += splits.apply_splits(self.rows, entries, file='splits.csv')[1]
    self.assertIn(expected, '\n'.join(map(str, problems)))
    self.assertTrue(all('splits.csv' in str(p) for p in problems))

  def test_subject_in_two_splits(self):
    rows = [_row('a', 's'), _row('b', 's')]
    entries = [splits.Entry('a', '', 'train', ''),
               splits.Entry('b', '', 'val', '')]
    problem, = splits.apply_splits(rows, entries)[1]
    self.assertIn("subject 's' is in val and, as a, in train", str(problem))


if __name__ == '__main__':
  absltest.main()
