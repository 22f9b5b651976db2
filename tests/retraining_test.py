"""Tests for experiments.building.retraining."""

import contextlib
import io
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.building import input_pipeline
from experiments.building import retraining
from experiments.configs import versions
from experiments.saving import resuming
from experiments.training import trainer
from tests import tiny


class RetrainingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._path = os.path.join(tiny.temp_dir(self), 'audit.csv')
    self._dataset = input_pipeline.load_dataset(tiny.data_dir())
    self._ids = input_pipeline.column(
        self._dataset.splits['train_weak'], 'id').astype(str).tolist()

  def _config(self, text, **weighting):
    with open(self._path, 'w', encoding='utf-8') as file:
      file.write(text)
    return tiny.debug_config(
        weighting=dict(initial_from=self._path, **weighting)).lock()

  def test_one_minus_the_score_whatever_the_order(self):
    first, second, third = self._ids[:3]
    self._config(
        f'rank,id,score\n1,{third},0.75\n2,{first},0.125\n3,{second},0\n')
    indicators = retraining.read(self._path, self._dataset, otherwise=0.5)
    np.testing.assert_array_equal(indicators[:3], [0.875, 1, 0.25])
    np.testing.assert_array_equal(indicators[3:], 0.5)
    self.assertEqual(indicators.dtype, np.float32)
    self.assertLen(indicators, len(self._ids))

  def test_table_that_does_not_show_all_rows(self):
    first, second = self._ids[:2]
    self._config(f'rank,id,score\n1,{second},0.75\n')
    with mock.patch.object(csv_files, 'MOST_ROWS', 1):
      csv_files.write_columns(self._path, {
          'id': np.array([second, first]), 'score': np.float64([0.75, 0.125])})
    indicators = retraining.read(self._path, self._dataset, otherwise=0.5)
    np.testing.assert_array_equal(indicators[:3], [0.875, 0.25, 0.5])

  @parameterized.parameters(
      ('{"learn_from": "val"}', 'val'), ('{"learn_from": "strong"}', 'strong'),
      ('{}', 'val'), (None, ''), ('{', ''), ('[]', ''))
  def test_says_if_validation_masks_were_learnt_from(self, beside, wanted):
    self._config(f'id,score\n{self._ids[0]},0.5\n')
    if beside is not None:
      path = os.path.join(os.path.dirname(self._path), 'audit.json')
      with open(path, 'w', encoding='utf-8') as file:
        file.write(beside)
    self.assertEqual(retraining.learnt_from(self._path), wanted)
    with contextlib.redirect_stderr(io.StringIO()) as told:
      retraining.read(self._path, self._dataset, otherwise=1.0)
    self.assertEqual('of the validation split' in told.getvalue(),
                     wanted == 'val')

  def test_a_run_starts_with_them_and_then_needs_no_table(self):
    config = self._config(
        'id,score\n' + ''.join(f'{name},0.25\n' for name in self._ids),
        start_step=1000)
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          config, workdir, should_stop=lambda step: step == 2)
    os.remove(self._path)
    results = trainer.train_and_evaluate(config, workdir)
    self.assertEqual(results['step'], 4)
    with open(os.path.join(workdir, 'indicators.csv'), encoding='utf-8') as f:
      header, *lines = f.read().splitlines()
    column = header.split(',').index('indicator')
    self.assertEqual(
        {float(line.split(',')[column]) for line in lines}, {0.75})

  @parameterized.parameters(
      ('id,score\nnobody,0.5\n', 'of another set: 1 of its 1 image is no weak'),
      ('id,score\n', 'of another set: 0 of its 0 images'),
      ('id,score\n{0},1.5\n', r'the score of \S+ is 1.5'),
      ('id,score\n{0},nan\n', r'the score of \S+ is nan'),
      ('id,score\n{0},high\n', 'not the table of an audit'),
      ('id,score\n{0}\n', 'not the table of an audit'),
      ('name,score\n{0},0.5\n', 'not the table of an audit'),
      ('\x00', 'not the table of an audit|of another set'))
  def test_refuses(self, text, message):
    self._config(text.format(*self._ids))
    with self.assertRaisesRegex(binary.UserError, message) as caught:
      retraining.read(self._path, self._dataset, otherwise=1.0)
    self.assertIn(f'weighting.initial_from={self._path}', str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))

  def test_refuses_a_missing_file_before_anything_is_written(self):
    config = self._config('')
    os.remove(self._path)
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    with self.assertRaisesRegex(binary.UserError, 'cannot be read: No such'):
      trainer.train_and_evaluate(config, workdir)
    self.assertFalse(os.path.exists(os.path.join(workdir, 'config.json')))

  def test_of_several_methods_those_with_indicators_use_it(self):
    config = self._config('id,score\n')
    for name, kept in (('dii', self._path), ('l2rw', '')):
      changed = config.copy_and_resolve_references().unlock()
      changed.weighting.update(name=name, per_class=True)
      retraining.only_where_used(changed.weighting)
      self.assertEqual(changed.weighting.initial_from, kept)
      self.assertEqual(changed.weighting.per_class, bool(kept))

  def test_a_refused_run_leaves_no_folder(self):
    config = self._config('id,score\nnobody,0.5\n')
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    with self.assertRaises(binary.UserError):
      trainer.train_and_evaluate(config, workdir)
    self.assertFalse(os.path.exists(workdir))

  def test_a_run_from_before_it_resumes(self):
    config = tiny.debug_config().lock()
    old = json.loads(config.to_json())
    del old['weighting']['initial_from']
    del old['version']
    old = versions.upgrade(old)
    self.assertEmpty(resuming.changes(old, json.loads(config.to_json())))
    found = resuming.changes(old, json.loads(self._config('').to_json()))
    with self.assertRaisesRegex(binary.UserError, 'weighting.initial_from'):
      resuming.check_same(found, 'workdir')

  def test_refuses_a_method_without_indicators(self):
    config = self._config('id,score\n', name='uniform')
    with self.assertRaisesRegex(binary.UserError, "'uniform' has none"):
      tiny.build_training(config, self._dataset)


if __name__ == '__main__':
  absltest.main()
