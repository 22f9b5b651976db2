"""Tests for experiments.reports.pages, on complete reports of all three kinds.
"""

import contextlib
import io
import os
import re
import sys
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.building import input_pipeline
from experiments.evaluation import scoring
from experiments.reports import blocks
from experiments.reports import pages
from experiments.reports import plots
from experiments.saving import indicator_history
from tests import binaries
from tests import html_pages
from tests import long_only
from tests import synthetic_reports
from tests import tiny


def _read(path):
  with open(path, encoding='utf-8') as f:
    return f.read()


def _case(name, dice, **changes):
  image = np.full((8, 12, 1), 100, np.uint8)
  label = np.zeros((8, 12), np.uint8)
  return scoring.EvaluatedCase(
      name, '', {'dice_a': dice}, image, label, label)._replace(**changes)


class ReportsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(tiny.temp_dir(self), 'report.html')

  def evaluate(self, cases, **kwargs):
    pages.write_evaluation_report(
        self.path, title='t', classes=('background', 'a'), results={},
        cases=cases, **kwargs)
    return _read(self.path)

  @parameterized.parameters(*synthetic_reports.WRITERS)
  def test_hostile_names_stay_text(self, kind):
    synthetic_reports.WRITERS[kind](self.path, 40, size=48)
    text = _read(self.path)
    page = html_pages.assert_sound(self, text)
    self.assertLen(page.all('script'), 1)
    self.assertLen(page.all('dialog'), 1)
    self.assertLen(page.all('main'), 1)
    self.assertEqual(text.count('class="open"'), 40)
    # The table has one row per case, with its unchanged name.
    names = re.findall('<th scope="row"><bdi>([^<]*)</bdi>', text)
    self.assertLen(names, 40)
    self.assertIn('&lt;script&gt;alert(1)&lt;/script&gt;', names)
    self.assertIn('very_long_' * 30, names)
    self.assertIn('half\ufffd a pair', names)

  @parameterized.parameters(*long_only.first_of(
      tuple((kind,) for kind in synthetic_reports.WRITERS)))
  def test_a_thousand_cases_fit(self, kind):
    start = time.process_time()
    synthetic_reports.WRITERS[kind](self.path, 1000, size=64)
    self.assertLess(os.path.getsize(self.path), 15e6)
    self.assertLess(time.process_time() - start, 60)

  def test_noise_keeps_the_bound(self):
    # Images of noise give the largest files, because noise compresses worst.
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (200, 200, 3), np.uint8)
    limit = blocks.limits(4000, total_bytes=9_000_000, max_side=160)
    picture = blocks.encode(noise, limit)
    self.assertLess(4000 * len(picture.uri), 10e6)

  def test_order_worst_and_best(self):
    cases = [_case(f'c{i}', (7 * i % 20) / 20) for i in range(20)]
    cases.append(_case('none', np.nan))
    text = self.evaluate(cases)
    rows = re.findall('<th scope="row"><bdi>([^<]*)', text)
    by_dice = sorted(cases[:-1], key=lambda case: case.scores['dice_a'])
    self.assertEqual(rows, [case.id for case in by_dice] + ['none'])
    shown = re.findall('<h3><bdi>([^<]*)', text)
    self.assertEqual(shown[:6], rows[:6])
    self.assertEqual(shown[6:], rows[-2:-8:-1])

  def test_few_cases_are_not_both_worst_and_best(self):
    text = self.evaluate([_case('a', 0.5), _case('b', 0.2)])
    self.assertIn('Worst cases', text)
    self.assertNotIn('Best cases', text)
    self.assertEqual(re.findall('<h3><bdi>([^<]*)', text), ['b', 'a'])

  def test_no_case_and_no_score(self):
    html_pages.assert_sound(self, self.evaluate([]))
    text = self.evaluate([_case('a', 0.0, scores={})])
    html_pages.assert_sound(self, text)
    self.assertNotIn('Worst cases', text)

  def test_more_cases_than_a_page_lists(self):
    text = self.evaluate([_case(f'c{i}', i / 2000) for i in range(1005)])
    self.assertEqual(text.count('<th scope="row">'), 1000)
    self.assertIn('5 more are not shown', text)

  def test_huge_images_are_shrunk(self):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (3000, 1500, 3), np.uint8)
    label = np.ones((3000, 1500), np.uint8)
    case = _case('a', 0.5, image=image, truth=label, prediction=label,
                 maps={'uncertainty': np.ones((3000, 1500), np.float32)})
    page = html_pages.assert_sound(self, self.evaluate([case]))
    sizes = {(i['width'], i['height']) for i in page.all('img')}
    self.assertEqual(sizes, {('128', '256'), ('80', '160')})
    self.assertLess(os.path.getsize(self.path), 5e5)

  def test_labels_of_other_integers(self):
    case = _case('a', 0.5)
    other = case._replace(prediction=case.prediction.astype(np.int64))
    self.assertEqual(self.evaluate([case]), self.evaluate([other]))

  def test_failed_write_leaves_the_old_page(self):
    self.evaluate([_case('a', 0.5)])
    old = _read(self.path)
    folder, name = os.path.split(self.path)
    os.mkdir(os.path.join(folder, f'.{name}.tmp'))
    with self.assertRaises(OSError):
      self.evaluate([])
    self.assertEqual(_read(self.path), old)


class TrainReportTest(absltest.TestCase):

  def write(self, **changes):
    dataset = input_pipeline.load_dataset(tiny.data_dir())
    num_weak, num_test = (
        len(dataset.splits[n]) for n in ('train_weak', 'test'))
    rng = np.random.default_rng(0)
    weights = rng.uniform(size=num_weak).astype(np.float32)
    rows = plots.least_trusted(
        weights, dataset.splits['train_weak'], number=9)
    size = (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)
    path = os.path.join(tiny.temp_dir(self), 'report.html')
    run = pages.TrainedRun(
        results={'step': 4, 'test': {
            'dice': 0.5, 'dice_interval_95': [0.4, 0.6],
            'num_cases_counted': 10, 'per_class': {'lesion': {'dice': 0.5}}}},
        lines=[{'step': 1, 'strong_loss': 0.9, 'weak_loss': None},
               {'step': 4, 'val_dice': 0.5, 'indicator_mean': 0.7}],
        history=indicator_history.History(
            [2, 4], [np.ones(num_weak), weights].__getitem__),
        config={'input': {'data_dir': '<there>'}},
        sessions=[{'commit': 'abc', 'versions': {'jax': '1'}}],
        dataset=dataset, weights=weights)
    pages.write_train_report(
        path, run._replace(**changes), weak_rows=rows,
        weak_predictions=np.ones((len(rows), *size), np.uint8),
        test_scores=scoring.overlap_scores(rng.uniform(
            size=(num_test, len(dataset.classes), 3)).astype(np.float32)),
        test_predictions=np.ones((num_test, *size), np.uint8))
    return _read(path), dataset, weights

  def test_holds_what_a_run_found(self):
    text, dataset, weights = self.write()
    page = html_pages.assert_sound(self, text)
    titles = [t for t in page.texts['h2'] if t.strip()]
    self.assertEqual(titles[:10], [
        'Summary', 'Results', 'Curves', 'Indicators', 'Worst cases',
        'Best cases', 'All cases, worst first',
        'Weak instances, least trusted first', 'Config and versions',
        *titles[9:]])
    for expected in (
        '<strong>Test Dice 0.500</strong> 95 % interval 0.400 to 0.600, '
        '10 cases</p>', '<th>Dice</th><td>0.5 (0.4 to 0.6)</td>',
        'Least trusted of 32 weak annotations',
        '<code>python -m experiments.review --run=RUN</code>',
        'Final indicators by kind', 'Final indicators by planted fault',
        'Mean indicator by kind', 'Indicators over time',
        'Final indicators by quality', '<td>&lt;there&gt;</td>',
        '<th>versions.jax</th>', 'Session 1', '9 of 32;'):
      self.assertIn(expected, text)
    # The least trusted images come first, after the ten cases of the test
    # split.
    rows = re.findall('<th scope="row"><bdi>([^<]*)', text)[10:]
    order = np.argsort(weights)[:9]
    ids = {r['instance_id']: r['id'].decode()
           for r in dataset.splits['train_weak']}
    self.assertEqual(rows, [ids[i] for i in order])

  def test_first_screen(self):
    text, dataset, weights = self.write()
    screen = text.split('</section>')[0]
    heads = re.findall('<h3>(?:<bdi>)?([^<]*)', screen)
    names = [row.split('"')[0] for row in heads]
    tested = re.findall('<th scope="row"><bdi>([^<]*)', text)[:10]
    least = dataset.splits['train_weak'][np.argmin(weights)]['id'].decode()
    self.assertEqual(names[:6], [
        'Best, median and worst test case', f'Best: {tested[9]}',
        f'Median: {tested[4]}', f'Worst: {tested[0]}',
        'Least trusted of 32 weak annotations', least])
    self.assertLen(names, 8)
    # Two plots share the width of the page.
    plots_of = screen.split('<div class="plots fill">')[1]
    self.assertEqual(
        re.findall('<figcaption>([^<]*)', plots_of)[:2],
        ['Validation Dice while training', 'Training loss'])
    # Values of cases are named in words.
    self.assertIn(' Dice of lesion <bdi>', screen)
    self.assertNotIn('dice lesion', text)
    # It is printed, with the table of results, and nothing else.
    self.assertEqual(
        re.findall('<section( class="screen")?', text),
        ['', ''] + [' class="screen"'] * 7)

  def test_equal_indicators_make_no_suspects(self):
    text, _, weights = self.write(weights=np.ones(32, np.float32))
    self.assertNotIn('Least trusted of', text)

  def test_before_the_first_evaluation(self):
    text, _, _ = self.write(
        lines=[], history=indicator_history.History([], [].__getitem__))
    html_pages.assert_sound(self, text)
    self.assertNotIn('Curves', text)


class HarmTest(absltest.TestCase):

  def test_alignment_of_few_pixels_is_seen(self):
    alignment = np.zeros((50, 50))
    alignment[0, :3] = 1e-4, -1e-4, np.nan
    harm = pages.harm_map(alignment)
    np.testing.assert_allclose(harm[0, :3], [-1, 1, 0])
    np.testing.assert_array_equal(pages.harm_map(0 * alignment[1:]), 0)


class ReportCheckTest(absltest.TestCase):

  def test_says_what_it_needs(self):
    with (mock.patch.dict(sys.modules, {'websockets.sync': None}),
          contextlib.redirect_stdout(io.StringIO()) as out):
      binaries.load('tests.report_check').main([])
    self.assertEqual(out.getvalue(), 'Skipped: needs the package websockets.\n')


if __name__ == '__main__':
  absltest.main()
