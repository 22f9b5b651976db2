"""Tests for data_prep.splits.splits_file."""

import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from data_prep.splits import splits_file
from tests import split_rows

BOX = split_rows.BOX
row = split_rows.row


class FileTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = pathlib.Path(folder.name)
    self.path = self.folder / 's.csv'

  def _read(self, text, **kwargs):
    self.path.write_bytes(text.encode(**kwargs))
    return splits_file.read_splits(self.path)

  def test_written_as_documented(self):
    rows = [row('b', 's,1', split='val'),
            row('a', split='train', role='weak', annotation=BOX)]
    splits_file.write_splits(self.path, rows, {'a': 0})
    self.assertEqual(
        self.path.read_bytes(),
        b'id,subject,split,role,fold\na,,train,weak,0\nb,"s,1",val,strong,\n')
    self.assertEqual(os.listdir(self.folder), ['s.csv'])

  def test_round_trip(self):
    rows = [row('b "x"\ny', 's', split='val'),
            row('\u00e4', ' s', split='test'),
            row(' c\r', 't,', split='train', role='weak', annotation=BOX)]
    splits_file.write_splits(
        self.path, rows, {r.id: i for i, r in enumerate(rows)})
    entries, problems = splits_file.read_splits(self.path)
    self.assertEqual(problems, [])
    self.assertEqual([(e.id, e.fold) for e in entries],
                     sorted((r.id, i) for i, r in enumerate(rows)))
    bare = [r._replace(split='', role='') for r in rows]
    self.assertEqual(splits_file.apply_splits(bare, entries), (rows, []))

  def test_failed_write_keeps_the_old_file(self):
    splits_file.write_splits(self.path, [row('a', split='val')])
    before = self.path.read_bytes()
    with self.assertRaises(UnicodeEncodeError):
      splits_file.write_splits(self.path, [row('\ud800', split='val')])
    self.assertEqual(self.path.read_bytes(), before)
    self.assertEqual(os.listdir(self.folder), ['s.csv'])

  def test_edited_in_a_spreadsheet(self):
    entries, problems = self._read(
        'id,fold,subject,split,role\r\na,0,s, train ,strong\r\n,,,,\r\n',
        encoding='utf-8-sig')
    self.assertEqual(problems, [])
    self.assertEqual(entries, [
        splits_file.Entry('a', 's', 'train', 'strong', 0, 2, str(self.path))])

  def test_all_problems_with_file_line_id_and_field(self):
    entries, problems = self._read("""id,subject,split,role,fold
a,s,train,strong,0
a,s,train,strong,0
b,s,val,strong,1
c,t,dev,strong,
d,t,train,boss,9
e,u,train,strong,x
f,u
,u,train,weak,
g,v,train,strong,-1
""")
    self.assertEqual(
        [(p.line, p.id, p.field, p.what) for p in problems], [
            (3, 'a', 'id', 'duplicate id, first on line 2'),
            (4, 'b', 'subject',
             'subject is in split val and, on line 2, in split train'),
            (4, 'b', 'subject',
             'subject is in fold 1 and, on line 2, in fold 0'),
            (5, 'c', 'split', 'expected one of train, val, test'),
            (6, 'd', 'role', 'expected one of strong, weak, unlabelled'),
            (6, 'd', 'fold', 'expected 0 to 2, as there are 3 folds'),
            (6, 'd', 'subject',
             'subject is in split train and, on line 5, in split dev'),
            (7, 'e', 'fold', 'expected a whole number from 0, or nothing'),
            (8, '', '', 'expected 5 cells'),
            (9, '', 'id', 'the id is empty'),
            (10, 'g', 'fold', 'expected a whole number from 0, or nothing'),
        ])
    self.assertEqual({p.file for p in problems}, {str(self.path)})
    self.assertEqual([e.id for e in entries], [*'abcdeg'])
    # `apply_splits` reports the problems of entries again, each of them once.
    rows = [row(e.id, e.subject) for e in entries]
    applied, again = splits_file.apply_splits(rows, entries)
    self.assertEqual(again, [p for p in problems if p in again])
    self.assertLen(again, 6)
    self.assertEqual([r.split for r in applied],
                     ['train', 'val', '', '', 'train', 'train'])

  @parameterized.named_parameters(
      ('empty', '', ['not a header']),
      ('semicolons', 'id;subject;split;role;fold\n', ['not a header']),
      ('no_header', 'a,s,train,strong,\n', ['not a header']),
      ('unknown', 'id,subject,split,role,fold,note\na,,val,strong,,\n',
       ["unknown column 'note'"]),
      ('missing', 'id,subject,split,rule\na,,val,strong\n',
       ["unknown column 'rule'", "one column 'role'", "one column 'fold'"]),
      ('twice', 'id,id,subject,split,role,fold\n', ["one column 'id'"]),
      ('quotes', 'id,subject,split,role,fold\n"a,,val,strong,\n', ['not CSV']),
  )
  def test_bad_file(self, text, expected):
    problems = self._read(text)[1]
    self.assertLen(problems, len(expected))
    for problem, what in zip(problems, expected, strict=True):
      self.assertIn(what, problem.what)
      self.assertEqual(problem.file, str(self.path))

  def test_not_utf8(self):
    entries, problems = self._read('id,\u00e4', encoding='latin-1')
    self.assertEqual((entries, problems[0].what), ([], 'not UTF-8'))

  def test_applied_to_another_set(self):
    entries = [splits_file.Entry('a', 's', 'train', 'weak', None, 2, 'f.csv'),
               splits_file.Entry('b', 's', 'val', 'strong', None, 3, 'f.csv'),
               splits_file.Entry('gone', '', 'val', 'strong', None, 4, 'f.csv')]
    rows = [row('new', split='val'), row('b', 't', site='x'),
            row('a', 't', site='x', split='test')]
    applied, problems = splits_file.apply_splits(rows, entries, by='site')
    self.assertEqual([(r.id, r.split, r.role) for r in applied], [
        ('new', 'val', 'strong'), ('b', 'val', 'strong'),
        ('a', 'train', 'weak')])
    self.assertEqual([(p.line, p.id, p.what, p.found) for p in problems], [
        (2, 'a', "its subject in the set is 't'", "'s'"),
        (2, 'a', 'subject is in split train and, on line 3, in split val',
         "'t'"),
        (2, 'a', 'site is in split train and, on line 3, in split val', "'x'"),
        (3, 'b', 'subject is in split val and, on line 2, in split train',
         "'s'"),
        (3, 'b', "its subject in the set is 't'", "'s'"),
        (4, 'gone', 'listed, but no such image in the set', ''),
        (0, 'new', 'not listed', '')])
    self.assertEqual({p.file for p in problems}, {'f.csv'})
    self.assertStartsWith(str(problems[0]), 'f.csv, line 2, id a, subject: ')


if __name__ == '__main__':
  absltest.main()
