"""Tests for experiments.csv_files."""

import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import csv_files
from tests import tiny


class ReadCsvTest(parameterized.TestCase):

  def read(self, content, required=('id',)):
    path = os.path.join(tiny.temp_dir(self), 't.csv')
    with open(path, 'wb') as f:
      f.write(content)
    header, rows = csv_files.read_csv(path, required=required)
    return header, [(os.path.basename(where), row) for where, row in rows]

  def test_rows_and_where_they_end(self):
    header, rows = self.read(
        '\ufeffid,x\r\n"a\n""b""",1\r\n\r\nü,\r\n'.encode())
    self.assertEqual(header, ['id', 'x'])
    self.assertEqual(rows, [('t.csv, line 3', ['a\n"b"', '1']),
                            ('t.csv, line 5', ['ü', ''])])

  @parameterized.named_parameters(
      ('empty', b'', "line 1: no column 'id'"),
      ('column', b'x\n1\n', "no column 'id'"),
      ('twice', b'id,id\n', "column 'id' is twice"),
      ('long', b'id\n1,2\n', 'line 2: 2 cells, expected 1'),
      ('bytes', b'id\n\xff\n', 'cannot be read as CSV'),
      ('quote', b'id\n"a\n', 'cannot be read as CSV'),
  )
  def test_refuses(self, content, message):
    with self.assertRaises(binary.UserError) as caught:
      self.read(content)
    self.assertIn(message, str(caught.exception))
    self.assertLen(str(caught.exception).splitlines(), 1)


class ColumnsTest(absltest.TestCase):

  def test_all_rows_are_beside_a_table_that_shows_some(self):
    path = os.path.join(tiny.temp_dir(self), 'a.csv')
    columns = {'id': np.array(['é', 'b', 'c']), 'score': np.float32([1, 2, 3])}
    with mock.patch.object(csv_files, 'MOST_ROWS', 2):
      self.assertEqual(csv_files.write_columns(path, columns),
                       'a.csv shows 2 of 3 rows, a.npz has all.')
    found = csv_files.read_columns(path, ('score', 'id'))
    self.assertEqual(found['id'].tolist(), ['é', 'b', 'c'])
    self.assertEqual(found['score'].tolist(), [1, 2, 3])
    with self.assertRaisesRegex(binary.UserError, 'a.npz cannot be read: make'):
      csv_files.read_columns(path, ('indicator',))
    # A later table with fewer rows needs no such file.
    self.assertEqual(csv_files.write_columns(path, columns), '')
    self.assertIsNone(csv_files.read_columns(path, ('id',)))
    self.assertEmpty(os.listdir(os.path.dirname(path)))


if __name__ == '__main__':
  absltest.main()
