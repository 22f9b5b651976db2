"""Tests for experiments.benchmarks.claim."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments.saving import run_folder
from tests import binaries
from tests import tiny

_BLOCKS = {'a': 10, 'b': 30}


def _cell(method, dice, *, seed=0, steps=600, counts=None):
  blocks = {name: [(counts or _BLOCKS)[name], value]
            for name, value in zip(_BLOCKS, dice, strict=True)}
  sizes = [size for size, _ in blocks.values()]
  return {
      'method': method, 'part': 'published', 'train_steps': steps, 'seed': seed,
      'draw': 0, 'dice': float(np.average(dice, weights=sizes)), 'seconds': 60,
      'blocks': blocks}


class ClaimTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._claim = binaries.load('experiments.benchmarks.claim')
    full = [_cell('full_supervision', d, seed=s) for s, d in enumerate(
        [(0.80, 0.70), (0.82, 0.72), (0.84, 0.74)])]
    self._cells = full + [_cell('dii', d, seed=s) for s, d in enumerate(
        [(0.70, 0.70), (0.72, 0.72), (0.74, 0.74)])]

  def test_pairs_runs_with_the_same_seed(self):
    paired = self._claim.pair(self._cells[::-1], 'dii')
    self.assertEqual(paired.runs, ((0, 0), (1, 0), (2, 0)))
    self.assertEqual(paired.blocks, ('a', 'b'))
    np.testing.assert_allclose(paired.differences, [[-0.1, 0]] * 3, atol=1e-12)

  def test_a_method_without_a_common_run(self):
    cells = self._cells + [_cell('paper', (0.5, 0.5), seed=7)]
    self.assertIsNone(self._claim.pair(cells, 'paper'))
    self.assertIn('| no common run |', self._claim.to_markdown(cells))

  def test_blocks_weigh_the_same_and_frames_do(self):
    reading = self._claim.read(self._claim.pair(self._cells, 'dii'))
    self.assertAlmostEqual(reading.by_block, -0.05)
    self.assertAlmostEqual(reading.by_frame, -0.1 * 10 / 40)
    # A resample of two blocks has the first one twice in 1 of 4 cases.
    self.assertAlmostEqual(reading.low, -0.1)
    self.assertAlmostEqual(reading.high, 0.0)

  def test_refuses_other_frames(self):
    cells = self._cells + [
        _cell('paper', (0.5, 0.5), counts={'a': 10, 'b': 29})]
    with self.assertRaisesRegex(binary.UserError, 'its frames differ'):
      self._claim.pair(cells, 'paper')

  def test_bounds_of_a_normal_sample(self):
    values = np.random.default_rng(0).normal(0.0, 0.02, (1, 400))
    low, high = self._claim.bounds(values)
    half = 1.645 * values.std() / 20  # 95 % of a normal distribution.
    np.testing.assert_allclose(
        [low, high], values.mean() + np.array([-half, half]), atol=1e-4)

  def test_coverage_is_near_95_percent_with_many_blocks(self):
    values = np.random.default_rng(1).normal(0.0, 0.02, (6, 40))
    self.assertBetween(
        self._claim.coverage(values, num_experiments=300), 0.9, 0.99)

  @parameterized.parameters(
      (-0.009, 0.02, 3, 'as good'),
      (-0.029, 0.02, 3, 'non-inferior'),
      (-0.05, -0.031, 3, 'worse'),
      (-0.05, -0.02, 3, 'cannot tell'),
      (-0.009, 0.02, 2, 'cannot tell'),
  )
  def test_verdict(self, low, high, num_runs, verdict):
    self.assertEqual(self._claim.judge(low, high, num_runs), verdict)

  def test_the_reference_may_have_more_steps(self):
    cells = self._cells + [_cell('full_supervision', (0.9, 0.9), steps=1200)]
    chosen = self._claim.choose(
        cells, part='published', steps=600, reference_steps=1200)
    self.assertEqual(
        [(c['method'], c['train_steps']) for c in chosen],
        [('dii', 600)] * 3 + [('full_supervision', 1200)])

  def test_table_has_the_reference_last(self):
    lines = self._claim.to_markdown(self._cells).splitlines()
    self.assertLen(lines, 4)
    self.assertStartsWith(lines[2], '| `dii` | 3 | 0.720 ± 0.020 |')
    self.assertStartsWith(lines[3], '| `full_supervision` | 3 | 0.745 ± 0.020 ')

  def test_plots(self):
    folder = tiny.temp_dir(self)
    forest, steps = (os.path.join(folder, n) for n in ('f.png', 's.png'))
    self._claim.plot_forest(self._cells, forest)
    self._claim.plot_steps(self._cells, steps, 'published')
    for path in (forest, steps):
      with open(path, 'rb') as file:
        self.assertEqual(file.read(4), b'\x89PNG')

  def test_refuses_the_same_cell_twice_and_an_empty_folder(self):
    folder = tiny.temp_dir(self)
    with self.assertRaisesRegex(binary.UserError, 'holds no cell'):
      self._claim.read_cells([folder])
    for name in ('a.json', 'b.json'):
      run_folder.write_json(os.path.join(folder, name), self._cells[0])
    with self.assertRaisesRegex(binary.UserError, 'hold the same cell'):
      self._claim.read_cells([folder])


if __name__ == '__main__':
  absltest.main()
