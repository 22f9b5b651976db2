"""Tests of the binary experiments.compare."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import evaluation
from tests import binaries
from tests import tiny

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_BINARY = binaries.load('experiments.compare')
_CLASSES = ('lesion', 'a, "b"\nü')


class CompareTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.3, 0.7, (60, 2))
    self.write('a', scores)
    self.write('b', scores + 0.1 + 0.05 * rng.random((60, 2)))

  def write(self, run, scores, order=None):
    header = ['id', 'subject', *(f'dice_{c}' for c in _CLASSES)]
    rows = [[f'case "{i}",\nü', f's{i // 2}', *row]
            for i, row in enumerate(scores)]
    rows = rows if order is None else [rows[i] for i in order]
    os.makedirs(os.path.join(self.folder, run), exist_ok=True)
    evaluation.write_csv(
        os.path.join(self.folder, run, 'cases_test.csv'), header, rows)

  def compare(self, runs=('a', 'b'), **values):
    values['results'] = [os.path.join(self.folder, r) for r in runs]
    stdout = io.StringIO()
    with (binaries.with_flags(_BINARY), flagsaver.flagsaver(**values),
          contextlib.redirect_stdout(stdout)):
      _BINARY.main()
    return stdout.getvalue()

  def test_prints_and_writes(self):
    output = os.path.join(self.folder, 'out')
    text = self.compare(output=output)
    self.assertIn('dice (higher is better) on 60 common cases of 30', text)
    self.assertRegex(text, r'b is better than a by 0\.1\d+ \(0\.\d+ to 0\.\d+')
    self.assertIn('  lesion: +0.1', text)
    self.assertIn(r'''  'a, "b"\nü': +0.1''', text)
    with open(f'{output}/comparison.json', encoding='utf-8') as f:
      report = json.load(f)
    self.assertEqual(report['pairs'][0]['verdict'], 'second')
    self.assertEqual([r['name'] for r in report['results']], ['a', 'b'])
    with open(f'{output}/comparison.csv', newline='', encoding='utf-8') as f:
      rows = [*csv.reader(f)]
    self.assertEqual(rows[0], ['id', 'subject', 'a', 'b'])
    self.assertLen(rows, 61)
    difference = np.mean([float(r[3]) - float(r[2]) for r in rows[1:]])
    self.assertAlmostEqual(
        difference, report['pairs'][0]['difference'], places=5)

  def test_order_of_rows_is_irrelevant(self):
    text = self.compare()
    rng = np.random.default_rng(1)
    scores = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2))
    self.write('a', scores, order=rng.permutation(60))
    self.assertEqual(self.compare(), text)

  def test_names(self):
    self.assertIn('new is better than old', self.compare(names=['old', 'new']))
    for names in (['x'], ['x', 'x'], ['x', 'id'], ['', 'x']):
      with self.assertRaisesRegex(binary.UserError, '--names'):
        self.compare(names=names)

  def test_same_result_twice(self):
    self.assertIn('a and a (2) score the same on all 60 cases',
                  self.compare(('a', 'a')))

  @parameterized.named_parameters(
      ('one', ('a',), {}, 'give two or more'),
      ('missing', ('a', 'c'), {}, 'no such file or folder'),
      ('split', ('a', 'b'), {'split': 'val'}, 'no cases_val.csv'),
      ('metric', ('a', 'b'), {'metric': 'nsd'}, 'no column nsd_CLASS'),
      ('output', ('a', 'b'), {'output': 'a/cases_test.csv'}, '--output'),
  )
  def test_refuses(self, runs, values, message):
    if 'output' in values:
      values = {'output': os.path.join(self.folder, values['output'])}
    with self.assertRaisesRegex(binary.UserError, message):
      self.compare(runs, **values)

  def test_exit_code(self):
    done = subprocess.run(
        (sys.executable, '-m', 'experiments.compare', '--results=no,nope'),
        cwd=_ROOT, capture_output=True, text=True, check=False)
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertEqual(
        done.stderr, "Error: --results: no such file or folder: 'no'.\n")


if __name__ == '__main__':
  absltest.main()
