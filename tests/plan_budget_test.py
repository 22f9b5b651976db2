"""Tests of the binary experiments.plan_budget."""

import contextlib
import io
import json
import os

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np

from experiments import binary
from tests import binaries
from tests import forked
from tests import sweeps
from tests import tiny

_BINARY = binaries.load('experiments.plan_budget')


class PlanBudgetTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)
    sweep = sweeps.make(
        sweeps.THETA_2, sweeps.MIXES_2, spread=0.005, num_seeds=2)
    self.lines = [
        f'{m:g},{b:g},{seed},{dice:.4f}' for (m, b), seed, dice in zip(
            sweep.counts, sweep.seeds, sweep.dice, strict=True)]
    self.path = self.write(self.lines)

  def write(self, lines):
    path = os.path.join(self.folder, 'sweep.csv')
    with open(path, 'w', encoding='utf-8') as f:
      f.write('\n'.join(['mask,box,seed,dice', *lines]) + '\n')
    return path

  def plan(self, **values):
    values = {'sweep': self.path, 'minutes': ['mask:10', 'box:.5'],
              'budget': 300.0, 'have': ['mask:20', 'box:100']} | values
    stdout = io.StringIO()
    with (binaries.with_flags(_BINARY), flagsaver.flagsaver(**values),
          contextlib.redirect_stdout(stdout)):
      _BINARY.main()
    return stdout.getvalue()

  def test_prints_and_writes(self):
    output = os.path.join(self.folder, 'new', 'plan.json')
    text = self.plan(output=output)
    self.assertIn('18 runs of 9 mixes. There: 20 mask, 100 box.', text)
    self.assertRegex(text, r'one box is worth 0\.\d+ masks \(0\.\d+ to 0\.\d+')
    self.assertRegex(
        text, r'100%      300  best mix = box only: 600 box\n')
    self.assertIn('It is better than "mask only"', text)
    with open(output, encoding='utf-8') as f:
      self.assertEqual(json.load(f)['verdict'], 'ranked')

  def test_order_of_lines_is_irrelevant(self):
    text = self.plan()
    self.write(np.random.default_rng(0).permutation(self.lines))
    self.assertEqual(self.plan(), text)

  def test_cannot_tell(self):
    self.write(self.lines[:1])
    text = self.plan(have=None, budget=10.0)
    self.assertIn('THE DATA CANNOT TELL.\nToo few for 3 parameters', text)
    self.assertNotIn('gain', text)

  @parameterized.named_parameters(
      ('nothing', {'sweep': None}, 'either --sweep or --runs'),
      ('both', {'runs': ['x']}, 'either --sweep or --runs'),
      ('file', {'sweep': 'no.csv'}, 'no.csv cannot be read'),
      ('kind', {'minutes': ['mask:1', 'box:1', 'points:1']}, "'points' is not"),
      ('missing', {'minutes': ['mask:1']}, 'box needs a number above 0'),
      ('zero', {'minutes': ['mask:1', 'box:0']}, 'box needs a number above 0'),
      ('have', {'have': ['mask:1.5']}, '--have, mask: expected a whole'),
      ('budget', {'budget': -1.0}, '--budget'),
      ('nan', {'budget': float('nan')}, '--budget'),
      ('output', {'output': '/dev/null/x.json'}, '--output'),
  )
  def test_refuses(self, values, message):
    with self.assertRaises(binary.UserError) as caught:
      self.plan(**values)
    self.assertIn(message, str(caught.exception))
    self.assertLen(str(caught.exception).splitlines(), 1)

  def test_exit_code(self):
    self.write([*self.lines, '1,1,0,1.5'])
    done = forked.run(
        'experiments.plan_budget', '--budget=1', f'--sweep={self.path}',
        '--minutes=mask:1,box:1')
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertEqual(
        done.stderr, f'Error: {self.path}, line 20, dice: expected a number '
        "from 0 to 1, found '1.5'.\n")


if __name__ == '__main__':
  absltest.main()
