"""Runs the trainer for real: steps, checkpoint, resume, equality."""

import csv
import json
import os
import shutil

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from experiments import binary
from experiments import checkpoints
from experiments import comparison
from experiments import trainer
from tests import tiny


def _read(*parts):
  with open(os.path.join(*parts), 'rb') as f:
    return f.read()


class TrainerTest(parameterized.TestCase):

  def test_run_leaves_its_files_and_repeats(self):
    first, second = (tiny.temp_dir(self) for _ in range(2))
    results = trainer.train_and_evaluate(tiny.debug_config(), first)
    trainer.train_and_evaluate(tiny.debug_config(), second)
    for name in ('config.json', 'run.json', 'log.jsonl', 'metrics.json',
                 'cases_val.csv', 'cases_test.csv', 'indicators.csv',
                 'curves.png', 'panel.png', 'indicators.png', 'timing.json'):
      self.assertGreater(os.path.getsize(os.path.join(first, name)), 0, name)
    # Same seed, same numbers, to the last digit.
    for name in ('metrics.json', 'log.jsonl', 'cases_test.csv',
                 'indicators.csv'):
      self.assertEqual(_read(first, name), _read(second, name), name)
    self.assertEqual(results, json.loads(_read(first, 'metrics.json')))
    self.assertEqual(results['step'], 4)
    self.assertEqual(results['test']['num_cases'], 10)
    self.assertEqual(results['indicators']['num_weak'], 32)
    self.assertBetween(results['indicators']['auroc'], 0, 1)
    with open(os.path.join(first, 'cases_test.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertLen({row['id'] for row in rows}, 10)
    dice = [float(row['dice_lesion']) for row in rows if row['dice_lesion']]
    self.assertAlmostEqual(np.mean(dice), results['test']['dice'], places=5)
    log = [json.loads(line) for line in _read(first, 'log.jsonl').splitlines()]
    self.assertEqual(
        [line['step'] for line in log if 'strong_loss' in line], [1, 2, 3, 4])

  def test_resumed_run_ends_where_an_uninterrupted_one_ends(self):
    whole, resumed = (tiny.temp_dir(self) for _ in range(2))
    trainer.train_and_evaluate(tiny.debug_config(), whole)
    trainer.train_and_evaluate(tiny.debug_config(), resumed)
    # Killed after the checkpoint of step 2: nothing later was written.
    shutil.rmtree(os.path.join(resumed, 'checkpoints', '4'))
    os.remove(os.path.join(resumed, 'metrics.json'))
    trainer.train_and_evaluate(tiny.debug_config(), resumed)
    self.assertEqual(json.loads(_read(resumed, 'timing.json'))['first_step'], 2)
    files = ('metrics.json', 'log.jsonl', 'cases_test.csv', 'indicators.csv')
    for name in files:
      self.assertEqual(_read(whole, name), _read(resumed, name), name)
    # A finished run is only evaluated again, and says the same once.
    trainer.train_and_evaluate(tiny.debug_config(), resumed)
    for name in files:
      self.assertEqual(_read(whole, name), _read(resumed, name), name)

  def test_evaluate_run_repeats_the_final_evaluation(self):
    workdir = tiny.temp_dir(self)
    results = trainer.train_and_evaluate(tiny.debug_config(), workdir)
    again = trainer.evaluate_run(tiny.debug_config(), workdir, 'test')
    self.assertEqual(again, {'step': 4} | results['test'])

  def test_compare_tabulates_every_method_and_seed(self):
    workdir = tiny.temp_dir(self)
    config = tiny.debug_config(train_steps=2, compare=dict(
        methods=('strong_only', 'dii_dcr'), seeds=(0, 1)))
    table = comparison.compare(config.lock(), workdir)
    self.assertEqual(list(table), ['strong_only', 'dii_dcr'])
    self.assertEqual(table['strong_only']['auroc_by_seed'], [None, None])
    self.assertLen(table['dii_dcr']['dice_by_seed'], 2)
    self.assertAlmostEqual(
        table['dii_dcr']['dice'], np.mean(table['dii_dcr']['dice_by_seed']))
    with open(os.path.join(workdir, 'compare.csv'), encoding='utf-8') as f:
      self.assertLen(list(csv.DictReader(f)), 4)
    with self.assertRaisesRegex(binary.UserError, "unknown .'dia'."):
      config = tiny.debug_config(compare=dict(methods=('dia',)))
      comparison.compare(config, workdir)

  @parameterized.named_parameters(
      ('loss', dict(supervision=dict(weak_loss='dce')), "'dce'; known"),
      ('weighting', dict(weighting=dict(name='dia')), "'dia'; known"),
      ('model', dict(model=dict(name='unett')), "'unett'; known"),
      ('levels', dict(model=dict(options=dict(features=(8,) * 6))),
       'multiples of 32'),
      ('odd', dict(input=dict(weak_batch_size=4)), 'multiple of 8'),
      ('large', dict(input=dict(strong_batch_size=16)), 'has 8 strong'),
      ('rate', dict(optimizer=dict(learning_rate=-1.0)), 'learning_rate'),
      ('steps', dict(train_steps=0), 'train_steps is 0'),
      ('uneven', dict(log_every_steps=3), 'multiple of log_every_steps'),
      ('no_weak_labels', dict(supervision=dict(weak_scale=0.0)), 'weak labels'),
      ('no_records', dict(input=dict(data_dir='nowhere')), 'No records'),
  )
  def test_bad_config_is_one_line_and_writes_nothing(self, changes, message):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    with self.assertRaises(binary.UserError) as caught:
      trainer.train_and_evaluate(tiny.debug_config(**changes), workdir)
    self.assertIn(message, str(caught.exception))
    self.assertNotIn('\n', str(caught.exception))
    self.assertFalse(os.path.exists(workdir))

  def test_refuses_a_folder_of_another_config(self):
    workdir = tiny.temp_dir(self)
    trainer.run_folder.open_run(workdir, tiny.debug_config(), 'a')
    with self.assertRaisesRegex(
        binary.UserError, 'train_steps is 4 there, 6 here'):
      trainer.train_and_evaluate(tiny.debug_config(train_steps=6), workdir)


class CheckpointsTest(absltest.TestCase):

  def test_refuses_a_checkpoint_of_another_model(self):
    workdir = tiny.temp_dir(self)
    state = {'params': {'kernel': jax.numpy.ones((3, 2))}}
    store = checkpoints.Checkpoints(workdir)
    store.save(1, state)
    store.close()
    store = checkpoints.Checkpoints(workdir)
    with self.assertRaises(binary.UserError) as caught:
      store.restore_latest({'params': {'kernel': jax.numpy.ones((3, 4))}})
    self.assertRegex(
        str(caught.exception),
        r'params/kernel is float32\[3, 2\] there, float32\[3, 4\] here')
    self.assertNotIn('\n', str(caught.exception))
    restored = store.restore_latest(state)
    np.testing.assert_array_equal(restored['params']['kernel'], 1)
    store.close()


if __name__ == '__main__':
  absltest.main()
