"""Tests of the binary experiments.compare."""

import contextlib
import csv
import io
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.configs import phantom
from experiments.saving import run_folder
from tests import binaries
from tests import forked
from tests import tiny

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
    csv_files.write_csv(
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

  def test_page(self):
    output = os.path.join(self.folder, 'out')
    scores = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2))
    scores[:2] += [[0.5], [-0.5]]
    self.write('<c>', scores)
    for names, verdict in (
        (('a', 'b'), 'b is better than a by 0.1'),
        (('a', '<c>'), 'The data cannot tell a and &lt;c&gt; apart')):
      report = self.report(names)[1]
      with open(f'{output}/comparison.html', encoding='utf-8') as f:
        page = f.read()
      self.assertIn(f'<p><b>{verdict}', page)
      pair, = report['pairs']
      low, high = pair['interval_95']
      self.assertIn(f'<td>{pair["difference"]:+.4g} ({low:.4g} to {high:.4g})'
                    f'</td><td>{pair["wins"]}</td><td>{pair["ties"]}</td>'
                    f'<td>{pair["losses"]}</td>', page)
      self.assertNotIn('<c>', page)
      self.assertNotIn('http', page.replace('http-equiv', ''))
    # The only two cases that differ, the ids in quotes.
    self.assertIn('<caption>Largest losses</caption>', page)
    self.assertIn('case &quot;1&quot;,\nü</th><td>-0.5</td>', page)
    self.assertIn('case &quot;0&quot;,\nü</th><td>+0.5</td>', page)
    self.assertNotIn('case &quot;2&quot;', page)

  def test_says_that_a_warm_start_has_had_more_steps(self):
    scores = np.full((60, 2), 0.5)
    self.write_run('mine', scores, 0)
    start = os.path.join(self.folder, '.', 'mine')
    self.write_run('longer', scores, 0, warm_start=start)
    self.write_run('reviewed', scores, 0, warm_start=start, train_steps=8)
    text = self.compare(('mine', 'reviewed'))
    self.assertIn(f'reviewed started from {start}, so that more steps', text)
    self.assertNotIn('more steps', self.compare(('longer', 'reviewed')))

  def test_evaluates_first_on_request(self):
    evaluated = []

    def evaluate(run, split):
      evaluated.append((os.path.basename(run), split))
      os.rename(f'{run}/cases_test.csv', f'{run}/evaluation_{split}.csv')

    with mock.patch('experiments.evaluation.finished_run.evaluate_run',
                    side_effect=evaluate):
      text = self.compare(evaluate=True, split='val')
    self.assertEqual(evaluated, [('a', 'val'), ('b', 'val')])
    self.assertIn('b is better than a', text)

  def test_order_of_rows_is_irrelevant(self):
    text = self.compare()
    rng = np.random.default_rng(1)
    scores = np.random.default_rng(0).uniform(0.3, 0.7, (60, 2))
    self.write('a', scores, order=rng.permutation(60))
    self.assertEqual(self.compare(), text)

  def test_names(self):
    self.assertIn('new is better than old', self.compare(names=['old', 'new']))
    for names in (['x'], ['x', 'y', 'z'], ['x', 'id'], ['', 'x']):
      with self.assertRaisesRegex(binary.UserError, '--names'):
        self.compare(names=names)

  def write_run(self, run, scores, seed, **changes):
    """Writes a run with its scores and the parts of its config used here."""
    self.write(run, scores)
    config = phantom.get_config('debug').unlock()
    config.update(dict(seed=seed, compare=dict(seeds=(seed,))))
    config.update(changes)
    run_folder.write_json(
        os.path.join(self.folder, run, 'config.json'),
        json.loads(config.to_json()))

  def report(self, runs, **values):
    output = os.path.join(self.folder, 'out')
    text = self.compare(runs, output=output, **values)
    with open(f'{output}/comparison.json', encoding='utf-8') as f:
      return text, json.load(f)

  def test_seeds_of_one_method_are_one_result(self):
    scores = np.full((60, 2), 0.5)
    for seed, (a, b) in enumerate([(0, 0.1), (0.1, 0.3), (0.2, 0.2)]):
      self.write_run(f'uniform/seed{seed}', scores + a, seed)
      self.write_run(
          f'dii/seed{seed}', scores + b, seed,
          weighting={'initial_from': f'x/seed{seed}/audit.csv'})
    runs = [f'{m}/seed{s}' for s in (2, 0, 1) for m in ('uniform', 'dii')]
    text, report = self.report(runs)
    self.assertRegex(
        text, r'uniform +0\.6 .* mean of 3 seeds, SD 0\.1\n'
        r'dii +0\.7 .* mean of 3 seeds, SD 0\.1\n')
    uniform, dii = report['results']
    self.assertEqual(uniform['seeds'], [2, 0, 1])
    np.testing.assert_allclose(uniform['mean_by_seed'], [0.7, 0.5, 0.6])
    np.testing.assert_allclose(dii['mean_by_seed'], [0.7, 0.6, 0.8])
    self.assertLen(dii['files'], 3)
    (pair,) = report['pairs']
    self.assertAlmostEqual(pair['difference'], 0.1)
    # By seed, the differences are 0.1, 0.2 and 0, and both subjects have the
    # same ones. So only the seeds vary: of the 27 ways to draw 3 of 3 seeds,
    # one draws only the lowest and one only the highest.
    np.testing.assert_allclose(pair['interval_95'], [0, 0.2], atol=1e-9)
    self.assertEqual(pair['verdict'], 'cannot tell')

  def test_what_is_not_a_seed_stands_alone(self):
    scores = np.full((60, 2), 0.5)
    self.write_run('a/seed0', scores, 0)
    self.write_run('a/seed1', scores, 1)
    self.write_run('long/seed0', scores, 0, train_steps=8)
    self.write_run('other/seed0', scores, 0, input={'data_dir': 'other'})
    self.write_run('again/seed0', scores, 0)
    groups = lambda *runs: [
        len(r['files']) for r in self.report(runs)[1]['results']]
    self.assertEqual(groups('a/seed0', 'a/seed1', 'long/seed0'), [2, 1])
    self.assertEqual(groups('a/seed1', 'other/seed0', 'a/seed0'), [2, 1])
    # A second run of the same seed is a copy, or made by another version of the
    # code. It does not count as a repetition.
    self.assertEqual(groups('a/seed0', 'again/seed0'), [1, 1])
    self.assertEqual(groups('a/seed0', 'a/seed1', 'again/seed0'), [1, 1, 1])
    text = self.compare(('a/seed0', 'a/seed1'))
    self.assertIn('All are seeds of one result: nothing to compare', text)

  def test_right_empties_are_found_before_means_are_taken(self):
    scores = np.full((60, 2), 0.5)
    invented = scores.copy()
    invented[:, 1] = 0
    empty = scores.copy()
    empty[:, 1] = np.nan
    for seed, values in enumerate([empty, invented]):
      self.write_run(f'a/seed{seed}', values, seed)
    self.write('b', empty)
    _, report = self.report(('a/seed0', 'b', 'a/seed1'))
    # Result a has the scores (0.5 + 1) / 2 with seed 0 and (0.5 + 0) / 2 with
    # seed 1; their means for one class alone are 0.5 and 0.25.
    a, b = report['results']
    self.assertAlmostEqual(a['paired_mean'], 0.5)
    np.testing.assert_allclose(a['mean_by_seed'], [0.5, 0.25])
    self.assertAlmostEqual(a['mean'], 0.375)
    self.assertAlmostEqual(b['paired_mean'], 0.75)
    self.assertAlmostEqual(report['pairs'][0]['difference'], 0.25)

  def test_names_say_what_is_one_result(self):
    scores = np.full((60, 2), 0.5)
    self.write('x', scores + 0.2)
    runs = ('a', 'b', 'x')
    _, report = self.report(runs, names=['old', 'old', 'new'])
    self.assertEqual([r['name'] for r in report['results']], ['old', 'new'])
    self.assertLen(report['results'][0]['mean_by_seed'], 2)
    self.write_run('s/seed0', scores, 0)
    self.write_run('s/seed1', scores, 1)
    runs = ('s/seed0', 's/seed1', 'x')
    _, report = self.report(runs, names=['s', 'x'])
    self.assertLen(report['results'], 2)
    _, report = self.report(runs, names=['s0', 's1', 'x'])
    self.assertLen(report['results'], 3)
    with self.assertRaisesRegex(binary.UserError, '3 results, or 2 where'):
      self.compare(runs, names=['s'])

  def test_same_result_twice(self):
    self.assertIn('a and a (2) score the same on all common cases, 60.',
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
    done = forked.run('experiments.compare', '--results=no,nope')
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertEqual(
        done.stderr, "Error: --results: no such file or folder: 'no'.\n")


if __name__ == '__main__':
  absltest.main()
