"""Stops, kills and damages runs on a tiny set, and compares their ends."""

import csv
import os
import shutil

from absl.testing import absltest
from absl.testing import parameterized
import chex
import jax
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.configs import common
from experiments.evaluation import finished_run
from experiments.exporting import artefacts
from experiments.prediction import predictor
from experiments.saving import checkpoints
from experiments.saving import run_folder
from experiments.training import trainer
from tests import long_only
from tests import tiny


class StoppedRunsTest(parameterized.TestCase):

  def tearDown(self):
    super().tearDown()
    jax.clear_caches()  # Frees memory: see conftest.py.

  def test_killed_run_ends_where_an_uninterrupted_one_ends(self):
    whole, resumed = tiny.run_dir(), tiny.copy_of_run(self)
    # Remove the files that would not exist if the run had been killed after
    # the checkpoint of step 2.
    shutil.rmtree(os.path.join(resumed, 'checkpoints', '4'))
    os.remove(os.path.join(resumed, 'metrics.json'))
    trainer.train_and_evaluate(tiny.debug_config(), resumed)
    tiny.assert_equal_runs(self, whole, resumed)
    sessions = run_folder.read_sessions(resumed)
    self.assertLen(sessions, 2)
    self.assertEmpty(run_folder.differences(*sessions))
    # A finished run is only evaluated again, which changes none of its files.
    trainer.train_and_evaluate(tiny.debug_config(), resumed)
    tiny.assert_equal_runs(self, whole, resumed)

  @long_only.only_long
  def test_indicators_of_all_weak_images_move_where_that_is_asked_for(self):
    whole, stopped = (tiny.temp_dir(self) for _ in range(2))
    config = tiny.debug_config()
    config.weighting.update(instances='all', every_steps=2)
    trainer.train_and_evaluate(config.lock(), whole)
    with open(os.path.join(whole, 'indicators.csv'), encoding='utf-8') as f:
      self.assertEqual(
          [row['num_updates'] for row in csv.DictReader(f)], ['2'] * 32)
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          config, stopped, should_stop=lambda step: step == 3)
    trainer.train_and_evaluate(config, stopped)
    tiny.assert_equal_runs(self, whole, stopped)

  def test_means_of_the_networks_are_kept_and_predict(self):
    whole, stopped = (tiny.temp_dir(self) for _ in range(2))
    config = tiny.debug_config(**common.METHODS['mean_teacher']).lock()
    results = trainer.train_and_evaluate(config, whole)
    if long_only.LONG:
      with self.assertRaises(binary.Stopped):
        trainer.train_and_evaluate(
            config, stopped, should_stop=lambda step: step == 3)
      trainer.train_and_evaluate(config, stopped)
      tiny.assert_equal_runs(self, whole, stopped)
    means = predictor.load(whole)
    dataset = input_pipeline.load_dataset(tiny.data_dir())
    built = tiny.build_network(config, dataset)
    state = predictor.restore(whole, dataset, built).state
    for i in range(2):
      chex.assert_trees_all_equal(means.params[i], state.teachers[i])
    again = finished_run.evaluate_run(whole, 'val').results
    self.assertEqual(again['dice'], results['val']['dice'])
    # The means differ from the networks, so the test above can tell them apart.
    self.assertNotEqual(
        checkpoints.state_sha256(state.teachers),
        checkpoints.state_sha256(state.params))

  @long_only.only_long
  @parameterized.parameters('strong_weak', 'meta_weight_net')
  def test_what_a_method_adds_to_the_state_is_kept(self, method):
    whole, stopped = (tiny.temp_dir(self) for _ in range(2))
    config = tiny.debug_config(**common.METHODS[method]).lock()
    results = trainer.train_and_evaluate(config, whole)
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          config, stopped, should_stop=lambda step: step == 3)
    trainer.train_and_evaluate(config, stopped)
    tiny.assert_equal_runs(self, whole, stopped)  # This includes state_sha256.
    again = finished_run.evaluate_run(whole, 'val').results
    self.assertEqual(again['dice'], results['val']['dice'])
    # Weak heads are not used for prediction and must not be exported.
    self.assertNotIn('weak_head', str(artefacts.flat_weights(
        predictor.load(whole)).keys()))

  def test_stopped_anywhere_it_ends_the_same(self):
    # The run is also stopped at steps that are not multiples of 3 (logging), 4
    # (evaluation) or 2 (checkpoints).
    config = tiny.debug_config(
        train_steps=6, log_every_steps=3, eval_every_steps=4).lock()
    whole, stopped = (tiny.temp_dir(self) for _ in range(2))
    trainer.train_and_evaluate(config, whole)
    for stop_at in (0, 4, 5) if long_only.LONG else (0, 5):
      with self.assertRaisesRegex(
          binary.Stopped, f'Stopped at step {stop_at} of 6'):
        trainer.train_and_evaluate(
            config, stopped, should_stop=lambda step, k=stop_at: step == k)
    trainer.train_and_evaluate(config, stopped)
    tiny.assert_equal_runs(self, whole, stopped)
    folder = os.path.join(whole, 'indicator_history')
    self.assertCountEqual(
        os.listdir(folder), ['0000000004.npy', '0000000006.npy'])
    self.assertEqual(
        np.load(os.path.join(folder, '0000000006.npy')).shape, (32,))

  def test_damaged_checkpoint_is_named_and_the_one_before_used(self):
    whole, damaged = tiny.run_dir(), tiny.copy_of_run(self)
    os.truncate(os.path.join(damaged, 'checkpoints/4/session.json'), 10)
    with self.assertLogs(level='WARNING') as logs:
      trainer.train_and_evaluate(tiny.debug_config(), damaged)
    lines = [line for line in logs.output if 'damaged' in line]
    self.assertLen(lines, 1)
    self.assertIn('checkpoints/4 is damaged (session.json has 10', lines[0])
    tiny.assert_equal_runs(self, whole, damaged)
    self.assertCountEqual(
        os.listdir(os.path.join(damaged, 'checkpoints')),
        ['2', '4', '4.damaged'])


if __name__ == '__main__':
  absltest.main()
