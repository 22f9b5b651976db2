"""Tests for experiments.tables.mixed_runs: tables and folders of runs."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.tables import mixed_runs
from tests import tiny

_HEADER = 'mask,box,seed,dice'


class TableTest(parameterized.TestCase):

  def read(self, *lines):
    path = os.path.join(tiny.temp_dir(self), 's.csv')
    with open(path, 'w', encoding='utf-8') as f:
      f.write('\n'.join(lines) + '\n')
    return mixed_runs.make_sweep(mixed_runs.read_table(path))

  def test_by_hand(self):
    table = self.read('dice,box,seed,mask', '.7,100,1,10', '0.6,0,0,10')
    self.assertEqual(table.kinds, ('mask', 'box'))
    np.testing.assert_array_equal(table.counts, [[10, 0], [10, 100]])
    np.testing.assert_array_equal(table.dice, [.6, .7])
    np.testing.assert_array_equal(table.seeds, [0, 1])

  def test_order_of_lines_and_columns_is_irrelevant(self):
    lines = ['1,2,0,.5', '1,3,0,.6', '1,2,1,.4', '0,2,0,.3']
    one = self.read(_HEADER, *lines)
    other = self.read(_HEADER, *lines[::-1])
    for a, b in zip(one, other, strict=True):
      np.testing.assert_array_equal(a, b)

  @parameterized.named_parameters(
      ('negative', '-1,0,0,.5', 'line 2, mask: expected a whole number'),
      ('fraction', '1.5,0,0,.5', "mask: expected a whole number from 0 to "),
      ('text', '1,many,0,.5', "line 2, box: expected a whole number"),
      ('empty', '1,,0,.5', "box: expected a whole number"),
      ('seed', '1,0,x,.5', 'line 2, seed: expected'),
      ('percent', '1,0,0,51', 'line 2, dice: expected a number from 0 to 1'),
      ('nan', '1,0,0,nan', 'line 2, dice: expected'),
      ('cells', '1,0,0', 'line 2: 3 cells, expected 4'),
  )
  def test_bad_line(self, line, message):
    with self.assertRaises(binary.UserError) as caught:
      self.read(_HEADER, line)
    self.assertIn(message, str(caught.exception))
    self.assertIn('s.csv', str(caught.exception))
    self.assertLen(str(caught.exception).splitlines(), 1)

  @parameterized.named_parameters(
      ('empty', (), 'line 1: no column'),
      ('no_mask', ('box,seed,dice', '1,0,.5'), "no column 'mask'"),
      ('no_dice', ('mask,seed', '1,0'), "no column 'dice'"),
      ('unknown', ('mask,boxes,seed,dice',), "unknown column 'boxes'"),
      ('no_runs', (_HEADER,), 'no finished run'),
      ('copy', (_HEADER, '1,0,0,.5', '1,0,0,.5'),
       'line 3: the same annotations and seed as'),
  )
  def test_bad_table(self, lines, message):
    with self.assertRaisesRegex(binary.UserError, message):
      self.read(*lines)

  def test_pairs_of_a_flag(self):
    parse = lambda *pairs: mixed_runs.parse_kinds(
        pairs, 'have', known=('mask', 'box'), whole=True)
    self.assertEqual(parse('mask:3', ' box:0'), {'mask': 3, 'box': 0})
    for pair in ('mask', 'mask:x', 'mask:1.5', 'mask:-1', 'blob:1', ''):
      with self.assertRaisesRegex(binary.UserError, '--have'):
        parse(pair)
    with self.assertRaisesRegex(binary.UserError, 'twice'):
      parse('mask:1', 'mask:2')


class RunsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)
    dataset = input_pipeline.load_dataset(tiny.data_dir())
    self.fingerprint = dataset.fingerprint
    self.num_weak = len(dataset.splits['train_weak'])

  def write(self, name, *, fingerprint=None, dice=0.5, **changes):
    """Writes the files of a finished run."""
    folder = os.path.join(self.folder, name)
    os.makedirs(folder)
    files = {
        'config': json.loads(tiny.debug_config(**changes).to_json()),
        'metrics': {'test': {'dice': dice}},
        'run': {'sessions': [
            {'dataset_fingerprint': fingerprint or self.fingerprint}]}}
    for file, value in files.items():
      with open(f'{folder}/{file}.json', 'w', encoding='utf-8') as f:
        json.dump(value, f)
    self.write_cases(folder, ['a', 'b'])
    return folder

  def write_cases(self, folder, ids):
    with open(f'{folder}/cases_test.csv', 'w', encoding='utf-8') as f:
      f.write('\n'.join(['id', *ids]) + '\n')

  def read(self, *patterns):
    return mixed_runs.make_sweep(mixed_runs.read_runs(mixed_runs.find_runs(
        [os.path.join(self.folder, p) for p in patterns])))

  def test_counts_kinds(self):
    self.write('all', seed=3)
    self.write('strong_only', dice=0.4, supervision={'weak_scale': 0.0})
    os.makedirs(f'{self.folder}/unfinished')
    found = self.read('*', 'all')
    self.assertEqual(found.kinds, ('mask', 'polygon'))
    np.testing.assert_array_equal(
        found.counts, [[8, 0], [8, self.num_weak]])
    np.testing.assert_array_equal(found.dice, [0.4, 0.5])
    np.testing.assert_array_equal(found.seeds, [0, 3])

  def test_refuses_other_test_images(self):
    self.write('a')
    self.write_cases(self.write('b'), ['a', 'c'])
    with self.assertRaisesRegex(binary.UserError, 'on different images'):
      self.read('*')

  def test_refuses(self):
    self.write('moved', fingerprint='other')
    self.write('nan', dice=float('nan'))
    os.remove(f'{self.write("damaged")}/metrics.json')
    for pattern, message in (
        ('moved', 'have changed since'), ('nan', 'test.dice: expected'),
        ('damaged', 'no finished run'), ('x*', 'no finished run')):
      with self.assertRaisesRegex(binary.UserError, message):
        self.read(pattern)


if __name__ == '__main__':
  absltest.main()
