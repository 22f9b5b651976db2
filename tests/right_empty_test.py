"""Tests for tables.right_empty: classes that both masks rightly lack count."""

import contextlib
import io
import os

from absl.testing import absltest
from absl.testing import flagsaver
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.tables import cases
from experiments.tables import grid
from experiments.tables import paired
from experiments.tables import right_empty
from experiments.tables import sweep_files
from experiments.tables import sweep_sets
from experiments.tables import sweep_statistics
from tests import binaries
from tests import tiny

_NAN = float('nan')
_SETTING = sweep_sets.Setting('phantom', 16, .1, 'box', 0.)
_BINARY = binaries.load('experiments.compare')


def _compare(aligned, *, metric):
  return paired.compare(
      aligned, right_empty.pair(aligned, metric=metric), metric=metric)


def _aligned(*scores, unproven=None):
  """Returns aligned results of scores [N, K]; every case is a new subject."""
  scores = np.array(scores, np.float64)
  number = scores.shape[1]
  return cases.Aligned(
      tuple('ABC'[:len(scores)]), tuple(f'{i:03d}' for i in range(number)),
      tuple(f's{i}' for i in range(number)), np.arange(number),
      tuple(f'c{k}' for k in range(scores.shape[2])), scores,
      (0,) * len(scores), ((),) * len(scores),
      None if unproven is None else np.array(unproven))


class PairTest(parameterized.TestCase):

  @parameterized.parameters(
      ('dice', 0, 1), ('iou', 0, 1), ('nsd', 0, 1), ('precision', 0, 1),
      ('volume_error', 1, 0), ('hd95', 99, 0), ('assd', 99, 0))
  def test_right_empty_is_the_best_score(self, metric, worst, best):
    # In case 0, A rightly predicts nothing and B invents the class. In case 1,
    # both rightly predict nothing. In case 2, both have a score.
    aligned = _aligned([[_NAN], [_NAN], [.5]], [[worst], [_NAN], [.25]])
    found = right_empty.pair(aligned, metric=metric)
    np.testing.assert_array_equal(
        found.scores[..., 0], [[best, best, .5], [worst, best, .25]])
    self.assertEqual(found.right_empty.sum(), 3)
    self.assertFalse(found.unscored.any())
    report = _compare(aligned, metric=metric)
    self.assertAlmostEqual(
        report['pairs'][0]['difference'], (worst - best - .25) / 3)
    a, b = report['results']
    self.assertAlmostEqual(
        report['pairs'][0]['difference'], b['paired_mean'] - a['paired_mean'])

  def test_classes_are_filled_before_they_are_averaged(self):
    # In the first case, B invents class 1, so that its mean is (.8 + 0) / 2,
    # and the mean of A is (.8 + 1) / 2.
    aligned = _aligned([[.8, _NAN], [.6, .4]], [[.8, 0], [.6, .4]])
    report = _compare(aligned, metric='dice')
    pair, = report['pairs']
    self.assertAlmostEqual(pair['difference'], (.4 - .9) / 2)
    self.assertEqual((pair['wins'], pair['ties'], pair['losses']), (0, 1, 1))
    self.assertAlmostEqual(pair['per_class']['c1']['difference'], -.5)
    self.assertEqual(pair['per_class']['c0']['difference'], 0)
    # The mean of a single result equals that of `evaluate`, which leaves right
    # empties out.
    self.assertAlmostEqual(report['results'][0]['mean'], (.8 + .5) / 2)
    self.assertAlmostEqual(report['results'][0]['paired_mean'], (.9 + .5) / 2)
    self.assertIn(
        'A: 1 times a class is in neither mask, which counts as 1',
        ' '.join(paired.warnings(aligned, report)))

  def test_class_that_is_nowhere_is_left_out(self):
    aligned = _aligned([[.8, _NAN], [.6, _NAN]], [[.7, _NAN], [.6, _NAN]])
    report = _compare(aligned, metric='dice')
    self.assertAlmostEqual(report['pairs'][0]['difference'], -.05)
    self.assertEqual(report['classes_absent'], ['c1'])
    self.assertIn("not compared: classes 'c1'",
                  ' '.join(paired.warnings(aligned, report)))

  @parameterized.parameters(('dice', .5), ('volume_error', .5), ('nsd', .01))
  def test_no_verdict_where_the_reference_is_not_empty(self, metric, overlap):
    # In the last case, B overlaps the reference, so the reference is not empty,
    # and the missing score of A is not a right empty.
    first = np.append(np.full(30, .2), _NAN)[:, None]
    second = np.append(np.full(30, .4), overlap)[:, None]
    report = _compare(_aligned(first, second), metric=metric)
    pair, = report['pairs']
    self.assertAlmostEqual(pair['difference'], .2)
    self.assertLess(pair['p'], .001)
    self.assertEqual(pair['num_cases'], 30)
    self.assertEqual((pair['num_unscored'], pair['verdict']),
                     (1, 'cannot tell'))
    self.assertStartsWith(pair['words'], 'No verdict on A and B: 1 case has')

  def test_no_verdict_on_a_distance_that_a_missed_class_lacks(self):
    # NOT_EMPTY stands for a line whose Dice is 0: A has missed the class, which
    # is why it has no distance.
    unproven = [[[cases.NOT_EMPTY]], [[cases.EMPTY]]]
    aligned = _aligned([[_NAN]], [[3]], unproven=unproven)
    pair, = _compare(aligned, metric='hd95')['pairs']
    self.assertEqual((pair['num_unscored'], pair['num_cases']), (1, 0))
    # Both results have missed the class in this case, so neither gains by it.
    aligned = _aligned([[_NAN], [2]], [[_NAN], [3]],
                       unproven=[[[cases.NOT_EMPTY], [cases.EMPTY]]] * 2)
    pair, = _compare(aligned, metric='hd95')['pairs']
    self.assertEqual((pair['num_unscored'], pair['num_cases']), (0, 1))
    self.assertEqual(pair['difference'], 1)

  def test_distance_alone_proves_nothing_of_one_result(self):
    unproven = np.full((2, 2, 1), cases.UNKNOWN)
    aligned = _aligned([[_NAN], [_NAN]], [[3], [_NAN]], unproven=unproven)
    pair, = _compare(aligned, metric='hd95')['pairs']
    self.assertEqual((pair['num_unscored'], pair['ties']), (1, 1))

  def test_differences_add_up_over_three_results(self):
    nan = _NAN
    aligned = _aligned([[.5], [nan], [nan]], [[.4], [0], [nan]],
                       [[.7], [nan], [0]])
    pairs = _compare(aligned, metric='dice')['pairs']
    one, two, three = (pair['difference'] for pair in pairs)
    self.assertAlmostEqual(one + three, two)

  def test_fill_one_sided(self):
    first, second = right_empty.fill_one_sided(
        np.array([_NAN, _NAN, .2]), np.array([0, _NAN, _NAN]),
        higher_is_better=True)
    np.testing.assert_array_equal(first, [1, _NAN, .2])
    np.testing.assert_array_equal(second, [0, _NAN, 1])


class TablesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)

  def write(self, name, header, rows):
    path = os.path.join(self.folder, name)
    csv_files.write_csv(path, header, rows)
    return path

  def test_compare_does_not_forgive_what_is_invented(self):
    # Each of 20 subjects has a slice with a structure and one without. B is
    # better by .01 on the former and invents a structure on each of the latter.
    full = .802 + .005 * (np.arange(20) - 9.5)
    header = ['id', 'subject', 'dice_x']
    for name, scores, empty in (('a', full, ''), ('b', full + .01, 0)):
      self.write(f'{name}.csv', header, [
          *([f'full{i}', f's{i}', s] for i, s in enumerate(scores)),
          *([f'empty{i}', f's{i}', empty] for i in range(20))])
    out = io.StringIO()
    with (binaries.with_flags(_BINARY), contextlib.redirect_stdout(out),
          flagsaver.flagsaver(
              results=[f'{self.folder}/{n}.csv' for n in 'ab'])):
      _BINARY.main()
    # The means over both slices are (.802 + 1) / 2 and (.812 + 0) / 2.
    self.assertIn('a is better than b by 0.495 ', out.getvalue())
    self.assertRegex(out.getvalue(), r'\na +0\.901 .* 0\.802 .* 20\n')
    self.assertRegex(out.getvalue(), r'\nb +0\.406 .* 0\.406 .* 40\n')
    self.assertIn('20 wins, 0 ties, 20 losses of b', out.getvalue())

  def test_other_overlaps_tell_missed_from_empty(self):
    path = self.write(
        'a.csv', ['id', 'subject', 'dice_x', 'hd95_x', 'hd95_y'], [
            ['missed', '', 0, '', ''], ['empty', '', 'NaN', '', 2]])
    found = cases.read_cases(path, name='a', metric='hd95')
    self.assertEqual(
        {i: list(row) for i, row in found.unproven.items()},
        {'missed': [cases.NOT_EMPTY, cases.UNKNOWN],
         'empty': [cases.EMPTY, cases.EMPTY]})
    aligned = cases.align([found, found])
    np.testing.assert_array_equal(
        aligned.unproven[1], [[cases.EMPTY, cases.EMPTY],
                              [cases.NOT_EMPTY, cases.UNKNOWN]])
    self.assertEqual(
        cases.read_cases(path, name='a', metric='dice').unproven['empty'],
        [cases.EMPTY])

  def cells(self, tables):
    """Writes finished runs, one per method, with given Dice of their cases.

    Returns:
      The cells of the sweep and their states.
    """
    cells, states = [], []
    for method, dice in tables.items():
      folder = os.path.join(self.folder, method)
      os.makedirs(folder)
      self.write(f'{method}/cases_test.csv', ['id', 'subject', 'dice_x'],
                 [[f'c{i}', f's{i}', d] for i, d in enumerate(dice)])
      cells.append(grid.Cell(_SETTING, method, 0, None, folder, ''))
      states.append(grid.State('done', results={'indicators': {}}))
    return cells, states

  def test_table_does_not_forgive_what_is_invented(self):
    cells, states = self.cells({'ours': [.8, '', ''], 'other': [.9, 0, '']})
    table = sweep_files.make_table(cells, states, reference='ours')
    ours, other = next(iter(table.lines.values()))
    self.assertAlmostEqual(ours.described.mean, .8)
    self.assertAlmostEqual(other.described.mean, .45)
    self.assertAlmostEqual(ours.paired_mean, 2.8 / 3)
    self.assertAlmostEqual(other.paired_mean, 1.9 / 3)
    self.assertAlmostEqual(other.difference.mean, (.1 - 1) / 3)
    text = sweep_files.to_markdown(table)
    self.assertIn('\nPaired Dice: ours 0.9333, other 0.6333.\n', text)
    self.assertIn('| other | 1 of 1 | 0.4500 |', text)
    self.assertIn('| -0.3000 |', text)

  def test_damaged_cell_is_one_line(self):
    cells, states = self.cells({'ours': [.8, ''], 'other': [.9, .5]})
    with self.assertRaisesRegex(
        binary.UserError, "ours, .*, seed 0: case 'c1' has no Dice where"):
      sweep_files.make_table(cells, states, reference='ours')

  def test_statistics_fill_what_one_method_lacks(self):
    found = sweep_statistics.compare(
        {'ours': np.array([[.5, _NAN, _NAN]]),
         'other': np.array([[.6, 0, _NAN]])},
        {'ours': (0,), 'other': (0,)}, np.arange(3), reference='ours')
    self.assertAlmostEqual(found['other'].mean, (.1 - 1) / 2)


if __name__ == '__main__':
  absltest.main()
