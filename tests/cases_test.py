"""Tests for experiments.tables.cases: reading and pairing tables of scores."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.evaluation import scoring
from experiments.saving import run_folder
from experiments.tables import cases
from tests import tiny

_HOSTILE = ('a,b', 'say "x"', 'ü/ñ', 'two\nlines', ' blank ', '=1+1')


class CasesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)

  def write(self, rows, header=('id', 'subject', 'dice_a', 'iou_a'),
            name='cases_test.csv'):
    path = os.path.join(self.folder, name)
    csv_files.write_csv(path, header, rows)
    return path

  def read(self, rows, header=('id', 'subject', 'dice_a', 'iou_a'),
           metric='dice', name='cases_test.csv'):
    return cases.read_cases(
        self.write(rows, header, name), name=name, metric=metric)

  def refuse(self, message, fn, *args, **kwargs):
    with self.assertRaises(binary.UserError) as caught:
      fn(*args, **kwargs)
    self.assertIn(message, str(caught.exception))
    self.assertLen(str(caught.exception).splitlines(), 1)

  def test_reads_what_evaluation_writes(self):
    counts = np.zeros((2, 3, 3))
    counts[0, 1] = 3, 1, 1
    path = os.path.join(self.folder, 'cases_val.csv')
    scoring.write_cases(
        path, ['x', 'y'], ['s', 's'], scoring.overlap_scores(counts),
        ('back', 'a b_ü', 'c'))
    result = cases.read_cases(path, name='r', metric='dice')
    self.assertEqual(result.classes, ('a b_ü', 'c'))
    np.testing.assert_array_equal(result.scores['x'], [0.75, np.nan])
    self.assertEqual(result.subjects, {'x': 's', 'y': 's'})
    self.assertEqual(cases.find_files([self.folder, path], 'val'), [path] * 2)
    self.assertEqual(cases.find_files([path], 'test'), [path])

  def test_classes_named_like_metrics(self):
    header = ('id', 'subject', 'dice_iou_a', 'iou_iou_a', 'volume_error_x_y',
              'volume_error_iou')
    row = ['i', '', '.1', '.2', '.3', '']
    self.assertEqual(self.read([row], header).classes, ('iou_a',))
    self.assertEqual(
        self.read([row], header, 'volume_error').classes, ('x_y', 'iou'))

  def test_hostile_ids(self):
    rows = [[i, f'{i}!', n / 10, 0] for n, i in enumerate(_HOSTILE)]
    result = self.read(rows)
    self.assertEqual(tuple(result.scores), _HOSTILE)
    aligned = cases.align([result, self.read(rows[::-1], name='b.csv')])
    self.assertEqual(aligned.ids, tuple(sorted(_HOSTILE)))
    np.testing.assert_array_equal(aligned.scores[0], aligned.scores[1])

  def test_byte_order_mark(self):
    path = os.path.join(self.folder, 'excel.csv')
    with open(path, 'w', encoding='utf-8-sig') as f:
      f.write('id,subject,dice_a\r\nx,,0.5\r\n')
    self.assertEqual(
        cases.read_cases(path, name='r', metric='dice').scores['x'], [0.5])

  @parameterized.named_parameters(
      ('no_id', ['subject', 'dice_a'], ['', '1'], "no column 'id'"),
      ('no_metric', ['id', 'subject', 'iou_a'], ['x', '', '1'],
       'has no column dice_CLASS; metrics in it: iou'),
      ('nothing', ['id', 'subject'], ['x', ''], 'metrics in it: none'),
      ('short', ['id', 'subject', 'dice_a'], ['x', ''], 'line 2: 2 cells'),
      ('text', ['id', 'subject', 'dice_a'], ['x', '', 'good'],
       "line 2, 'dice_a': expected a number"),
      ('infinite', ['id', 'subject', 'dice_a'], ['x', '', 'inf'], "'inf'"),
      ('column_twice', ['id', 'subject', 'dice_a', 'dice_a'],
       ['x', '', '1', '1'], "column 'dice_a' is twice"),
  )
  def test_refuses(self, header, row, message):
    self.refuse(message, self.read, [row], header)

  def test_refuses_files(self):
    # An id may contain a line break, so the second record ends on line 5.
    self.refuse("line 5, id: 'x\\ny' is there twice", self.read,
                [['x\ny', '', 1, 1]] * 2)
    binary_file = os.path.join(self.folder, 'x.csv')
    with open(binary_file, 'wb') as f:
      f.write(b'id,subject,dice_a\n\xff\xfe,,1\n')
    self.refuse('cannot be read as CSV', cases.read_cases, binary_file,
                name='x', metric='dice')
    self.refuse('no such file', cases.find_files, [f'{self.folder}/no'], 'test')
    self.refuse('--split=val` first', cases.find_files, [self.folder], 'val')

  def test_evaluated_folders_are_taken_if_all_are(self):
    folders = [os.path.join(self.folder, name) for name in 'ab']
    for folder in folders:
      os.mkdir(folder)
      for name in 'cases_test', 'evaluation_test':
        run_folder.write_json(os.path.join(folder, f'{name}.csv'), {})
      run_folder.write_json(
          os.path.join(folder, 'evaluation_test.json'),
          {'resolution': folder[-1], 'nsd_tolerance': 2.0})
    found = cases.find_files(folders, 'test')
    self.assertEqual(
        found, [os.path.join(f, 'evaluation_test.csv') for f in folders])
    (line,) = cases.differences(found)
    self.assertIn('differ in their resolution (a, b)', line)
    os.remove(found[1])
    found = cases.find_files(folders, 'test')
    self.assertEqual(
        found, [os.path.join(f, 'cases_test.csv') for f in folders])
    self.assertEqual(cases.differences(found), [])

  def test_align_leaves_out(self):
    a = self.read([['x', '', .1, 0], ['y', '', .2, 0], ['z', 's', .3, 0]])
    b = self.read([['z', '', 7, .3], ['y', '', 8, .4], ['w', '', 9, .5]],
                  ('id', 'subject', 'dice_b', 'dice_a'), name='b.csv')
    aligned = cases.align([a, b])
    self.assertEqual(aligned.ids, ('y', 'z'))
    self.assertEqual(aligned.num_left_out, (1, 1))
    self.assertEqual(aligned.classes, ('a',))
    self.assertEqual(aligned.classes_left_out, ((), ('b',)))
    np.testing.assert_array_equal(
        aligned.scores[..., 0], [[.2, .3], [.4, .3]])
    # If only one table names the subject of a case, it holds for both tables.
    self.assertEqual(aligned.subjects, ('', 's'))

  def test_groups(self):
    rows = [['a', 's', 1, 1], ['b', '', 1, 1], ['s', '', 1, 1],
            ['c', 's', 1, 1], ['d', '', 1, 1]]
    groups = cases.align([self.read(rows)]).groups
    # The images a and c have the common subject s; b, d and s have none.
    self.assertEqual(groups[0], groups[2])
    self.assertLen(set(groups), 4)

  def test_align_refuses(self):
    a = self.read([['x', 's', 1, 1]])
    self.refuse('No id of a case is in all of', cases.align,
                [a, self.read([['y', '', 1, 1]], name='b.csv')])
    self.refuse('No class is in all of', cases.align, [a, self.read(
        [['x', '', 1]], ('id', 'subject', 'dice_b'), name='c.csv')])
    self.refuse("Case 'x' is of subject 's' in one", cases.align,
                [a, self.read([['x', 't', 1, 1]], name='d.csv')])

  @parameterized.parameters(
      (('runs/a', 'runs/b/'), ['a', 'b']),
      (('r/a/seed0', 'r/b/seed0'), ['a/seed0', 'b/seed0']),
      (('a', 'a', './a'), ['a', 'a (2)', 'a (3)']),
      (('x/a.csv', 'y/a.csv', 'x/a.csv'), ['x/a', 'y/a', 'x/a (2)']),
  )
  def test_names(self, results, names):
    self.assertEqual(cases.choose_names(results), names)


if __name__ == '__main__':
  absltest.main()
