"""Runs the trainer on a tiny set, resumes runs, and compares the results."""

import contextlib
import csv
import io
import json
import os
import re
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.evaluation import finished_run
from experiments.saving import run_folder
from experiments.tables import side_by_side
from experiments.training import reproduce
from experiments.training import spent
from experiments.training import trainer
from tests import long_only
from tests import tiny


def _read(*parts):
  with open(os.path.join(*parts), 'rb') as f:
    return f.read()


class TrainerTest(parameterized.TestCase):

  def tearDown(self):
    super().tearDown()
    jax.clear_caches()  # Frees memory: see conftest.py.

  def test_run_leaves_its_files_and_repeats(self):
    first, second = tiny.run_dir(), tiny.temp_dir(self)
    results = trainer.train_and_evaluate(tiny.debug_config(), second)
    for name in ('config.json', 'run.json', 'log.jsonl', 'metrics.json',
                 'cases_val.csv', 'cases_test.csv', 'indicators.csv',
                 'curves.png', 'panel.png', 'indicators.png', 'timing.jsonl',
                 'indicator_history/0000000004.npy', 'report.html'):
      self.assertGreater(os.path.getsize(os.path.join(first, name)), 0, name)
    # With the same seed, all numbers are equal to the last digit.
    for name in ('metrics.json', 'log.jsonl', 'cases_test.csv',
                 'indicators.csv'):
      self.assertEqual(
          tiny.result(first, name), tiny.result(second, name), name)
    self.assertEqual(results, json.loads(_read(second, 'metrics.json')))
    self.assertEqual(results['step'], 4)
    self.assertEqual(tuple(results['seconds']), spent.PARTS)
    for part in ('compile', 'steps', 'evaluation', 'report'):
      self.assertGreater(results['seconds'][part], 0, part)
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

  def test_warns_of_collapsed_indicators(self):
    workdir, stdout = tiny.temp_dir(self), io.StringIO()
    # In four steps, they hardly rise from 0.
    config = tiny.debug_config(weighting=dict(initial_indicator=0.0)).lock()
    with contextlib.redirect_stdout(stdout):
      trainer.train_and_evaluate(config, workdir)
    warning = r'The indicators have collapsed: their mean is 0\.[01]\d, \d\d%'
    self.assertLen(re.findall(f'WARNING: {warning}', stdout.getvalue()), 2)
    self.assertLen(
        re.findall(warning, _read(workdir, 'log.jsonl').decode()), 2)

  @long_only.only_long
  def test_workers_do_not_change_the_data(self):
    threads = tiny.temp_dir(self)
    trainer.train_and_evaluate(
        tiny.debug_config(input=dict(num_workers=2)), threads)
    tiny.assert_equal_runs(self, tiny.run_dir(), threads)

  def test_keeps_the_best_checkpoint(self):
    workdir = tiny.temp_dir(self)
    results = trainer.train_and_evaluate(tiny.debug_config(
        eval_every_steps=1, checkpoint_every_steps=1), workdir)
    kept = {int(n) for n in os.listdir(os.path.join(workdir, 'checkpoints'))}
    self.assertEqual(kept, {3, 4, results['best']['step']})
    lines = [json.loads(x) for x in _read(workdir, 'log.jsonl').splitlines()]
    dice = {x['step']: x['val_dice'] for x in lines if 'val_dice' in x}
    self.assertEqual(results['best']['val_dice'], max(dice.values()))
    self.assertEqual(dice[results['best']['step']], max(dice.values()))
    best = finished_run.evaluate_run(
        workdir, 'val', checkpoint='best').results
    self.assertEqual(best['step'], results['best']['step'])
    self.assertAlmostEqual(best['dice'], results['best']['val_dice'])

  def test_refuses_a_folder_in_use_and_leaves_it_alone(self):
    workdir = tiny.temp_dir(self)
    lock = run_folder.lock(workdir)
    with self.assertRaisesRegex(
        binary.UserError, f'in use by process {os.getpid()}:'):
      trainer.train_and_evaluate(tiny.debug_config(), workdir)
    self.assertEqual(os.listdir(workdir), ['lock'])
    os.close(lock)
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          tiny.debug_config(), workdir, should_stop=lambda step: True)

  def test_refuses_a_disk_without_locks(self):
    workdir = tiny.temp_dir(self)
    with mock.patch.object(
        run_folder.fcntl, 'flock', side_effect=OSError(38, 'not implemented')):
      with self.assertRaisesRegex(
          binary.UserError, r'/lock cannot be locked \(not implemented\): '
          r'mount the disk with locks \(Lustre: with -o flock\), or give'):
        run_folder.lock(workdir)
      self.assertFalse(run_folder.is_locked(workdir))

  def test_refuses_records_that_have_changed(self):
    workdir = tiny.copy_of_run(self)
    path = os.path.join(workdir, 'run.json')
    name = b'"dataset_fingerprint": "'
    text = _read(path).replace(name, name + b'0')
    with open(path, 'wb') as f:
      f.write(text)
    with self.assertRaisesRegex(binary.UserError, 'another set'):
      trainer.train_and_evaluate(tiny.debug_config(), workdir)

  def test_reproduce_says_whether_and_why_not(self):
    second, third = (tiny.temp_dir(self) for _ in range(2))
    with self.assertRaisesRegex(binary.UserError, 'No run at'):
      reproduce.reproduce(third, second)
    first = tiny.copy_of_run(self)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      self.assertTrue(reproduce.reproduce(first, second))
    self.assertIn('Reproduced: the final state has the same', out.getvalue())
    self.assertRegex(
        out.getvalue(), r"pip install -e '\.\[run\]' jax==[\d.]+ jaxlib==")
    path = os.path.join(first, 'metrics.json')
    results = json.loads(_read(path))
    run_folder.write_json(path, results | {'state_sha256': 'x'})
    path = os.path.join(first, 'run.json')
    sessions = json.loads(_read(path))
    sessions['sessions'][0]['nproc'] = '77'
    sessions['sessions'][0]['switches']['jax_enable_x64'] = 'True'
    run_folder.write_json(path, sessions)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      self.assertFalse(reproduce.reproduce(first, third))
    self.assertIn('Not reproduced', out.getvalue())
    self.assertIn("differs in nproc: '77' there", out.getvalue())
    self.assertIn("jax_enable_x64: 'True' there, 'False'", out.getvalue())

  def test_too_many_bad_updates_end_the_run_in_one_line(self):
    workdir = tiny.temp_dir(self)
    config = tiny.debug_config(max_skipped_in_a_row=3)
    nan_loss = lambda logits, *_, **__: logits.mean((1, 2, 3)) * np.nan
    with mock.patch.dict(pieces._LOSSES, cross_entropy_dice=nan_loss):  # pylint: disable=protected-access
      with self.assertRaises(binary.UserError) as caught:
        trainer.train_and_evaluate(config, workdir)
    message = str(caught.exception)
    self.assertIn('Updates up to step 3 were not finite, 3 in a row', message)
    self.assertIn('strong_loss', message)
    self.assertIn('images: train_0', message)
    self.assertNotIn('\n', message)
    lines = [json.loads(x) for x in _read(workdir, 'log.jsonl').splitlines()]
    causes = [x['skipped_update'] for x in lines if 'skipped_update' in x]
    self.assertLen(causes, 3)
    self.assertLen(causes[0]['strong'], 4)
    self.assertLen(causes[0]['weak'], 8)
    self.assertIsNone(lines[1]['strong_loss'])
    # The non-finite loss has not changed the state, so the run can be continued
    # with a finite loss.
    results = trainer.train_and_evaluate(config, workdir)
    self.assertEqual(results['num_skipped'], 3)

  def test_compare_tabulates_every_method_and_seed(self):
    workdir = tiny.temp_dir(self)
    seeds = long_only.first_of((0, 1))
    config = tiny.debug_config(compare=dict(
        methods=('strong_only', 'uniform'), seeds=seeds))
    table = side_by_side.compare(config.lock(), workdir)
    self.assertEqual(list(table), ['strong_only', 'uniform'])
    self.assertEqual(
        table['strong_only']['auroc_by_seed'], [None] * len(seeds))
    self.assertLen(table['uniform']['dice_by_seed'], len(seeds))
    self.assertAlmostEqual(
        table['uniform']['dice'], np.mean(table['uniform']['dice_by_seed']))
    with open(os.path.join(workdir, 'compare.csv'), encoding='utf-8') as f:
      self.assertLen(list(csv.DictReader(f)), 2 * len(seeds))
    with self.assertRaisesRegex(binary.UserError, "unknown .'dia'."):
      config = tiny.debug_config(compare=dict(methods=('dia',)))
      side_by_side.compare(config, workdir)

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
      ('mapping', dict(mapping='vmap'), "'vmap'; known"),
      ('workers', dict(input=dict(num_workers=-1)), 'num_workers is -1'),
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
    config = tiny.debug_config()
    run_folder.open_run(
        workdir, config, input_pipeline.load_dataset(config.input.data_dir))
    with self.assertRaisesRegex(
        binary.UserError, 'seed is 0 there, 1 here'):
      trainer.train_and_evaluate(tiny.debug_config(seed=1), workdir)


if __name__ == '__main__':
  absltest.main()
