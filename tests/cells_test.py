"""Tests of the cells of CSV files, in all code that writes or reads them."""

import csv
import io
import itertools
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.sets import leaving_out
from data_prep.shared import cells
from data_prep.splits import splits_file
from data_prep.splits import subjects_file
from experiments import csv_files
from experiments.prediction import results_table

_FORMULAS = ('=1+1', '+a', '-a', '@SUM(1)', '=cmd|x', '\t=1', '\r=1', '\n=1',
             '-1+2', '--1', '-', '-inf', '-1 2', "-1'", '=,"')
_PLAIN = ('a', '', ' =1', "'", "'a", '1', '-1', '-1.5', '+2', '-1e-05', '-.5',
          'a=1', '"', "it's")


def _starts_formula(text):
  return text[:1] in tuple('=+-@\t\r\n') and text not in (
      '-1', '-1.5', '+2', '-1e-05', '-.5')


class CellsTest(parameterized.TestCase):

  @parameterized.parameters(*_FORMULAS)
  def test_formulas_are_guarded(self, text):
    self.assertEqual(cells.guard(text), f"'{text}")

  @parameterized.parameters(*_PLAIN, -1, -1.5, None, True)
  def test_the_rest_stays(self, value):
    self.assertEqual(cells.guard(value), value)
    self.assertEqual(cells.undo(value), value)

  def test_there_and_back(self):
    letters = "'=+-@\t\r\n1.ea "
    for length in range(5):
      for text in map(''.join, itertools.product(letters, repeat=length)):
        written = cells.guard(text)
        if cells.undo(written) != text:
          self.fail(repr(text))
        if written[:1] in '=@\t\r\n' and written:
          self.fail(repr(text))


class FilesTest(absltest.TestCase):
  """Tests that names survive in every file, and never become a formula."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.names = [n for n in (*_FORMULAS, *_PLAIN, "'=1", "''+1") if n]

  def _assert_harmless(self, path):
    text = path.read_bytes().decode()
    for line in csv.reader(io.StringIO(text, newline='')):
      self.assertFalse(any(map(_starts_formula, line)), line)

  def test_splits(self):
    path = self.folder / 'splits.csv'
    splits_file.write_splits(path, [
        manifest_lib.Row(n, 'x', 'train', 'weak', None, subject=n)
        for n in self.names])
    self._assert_harmless(path)
    entries, problems = splits_file.read_splits(path)
    self.assertEqual(problems, [])
    self.assertEqual([e.id for e in entries], sorted(self.names))
    self.assertEqual([e.subject for e in entries], sorted(self.names))

  def test_left_out(self):
    path = self.folder / leaving_out.FILE
    # Spaces around the names in a list are removed.
    names = [n for n in self.names if n == n.strip()]
    leaving_out.write(
        path, [formats.LeftOut('picture', n, '=x', n) for n in names])
    self._assert_harmless(path)
    self.assertEqual(leaving_out.read_names(str(path)), names)

  def test_subjects(self):
    path = self.folder / 'subjects.csv'
    names = [n for n in self.names if n == n.strip()]
    with open(path, 'w', newline='', encoding='utf-8') as file:
      writer = csv.writer(file)
      writer.writerow(('id', 'subject'))
      writer.writerows(cells.guard_all((n, n)) for n in names)
    entries, problems = subjects_file.read_subjects(str(path))
    self.assertEqual(problems, [])
    self.assertEqual([(e.id, e.subject) for e in entries],
                     [(n, n) for n in names])

  def test_tables(self):
    # This stands for audit.csv, indicators.csv, cases_*.csv, evaluation_*.csv
    # and comparison.csv.
    path = self.folder / 'cases_test.csv'
    csv_files.write_csv(
        str(path), ['id', 'subject', '=a'],
        [[n, n, '-1.5'] for n in self.names])
    self._assert_harmless(path)
    header, rows = csv_files.read_csv(str(path), required=('id',))
    self.assertEqual(header, ['id', 'subject', '=a'])
    self.assertEqual(
        [row for _, row in rows], [[n, n, '-1.5'] for n in self.names])

  def test_predictions(self):
    path = self.folder / results_table.NAME
    with open(path, 'w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, ('file', 'state'))
      writer.writeheader()
      writer.writerows(cells.guard_row(
          {'file': n, 'state': 'done'}) for n in self.names)
    self.assertEqual([r['file'] for r in results_table.read(path)],
                     self.names)


if __name__ == '__main__':
  absltest.main()
