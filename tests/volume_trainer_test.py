"""Runs the trainer on whole volumes, and resumes a run.

Its instances are slabs, and each of their classes has an indicator, so that
these are resumed, too.
"""

import csv
import json
import os

from absl.testing import absltest
import jax
import numpy as np

from experiments import binary
from experiments.auditing import observer
from experiments.evaluation import finished_run
from experiments.prediction import predictor
from experiments.saving import run_folder
from experiments.training import refining
from experiments.training import trainer
from tests import tiny
from tests import tiny_volumes


class VolumeTrainerTest(absltest.TestCase):

  def tearDown(self):
    super().tearDown()
    jax.clear_caches()  # Frees memory: see conftest.py.

  def test_a_stopped_run_ends_where_another_one_ends(self):
    whole, stopped = (tiny.temp_dir(self) for _ in range(2))
    config = tiny_volumes.debug_config(
        train_steps=3, input=dict(data_dir=tiny_volumes.data_dir(3)),
        weighting=dict(per_class=True)).lock()
    results = trainer.train_and_evaluate(config, whole)
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          config, stopped, should_stop=lambda step: step == 1)
    again = trainer.train_and_evaluate(config, stopped)
    self.assertEqual(results['state_sha256'], again['state_sha256'])
    self.assertEqual(tiny.result(whole, 'cases_test.csv'),
                     tiny.result(stopped, 'cases_test.csv'))
    self._check_results(whole, results)
    self._check_dataset(whole)
    self._check_refusals(whole)
    self._check_evaluation(whole, results)

  def _check_results(self, workdir, results):
    for name in ('metrics.json', 'cases_val.csv', 'indicators.csv',
                 'panel.png', 'curves.png', 'indicators.png', 'report.html'):
      self.assertGreater(os.path.getsize(os.path.join(workdir, name)), 0, name)
    self.assertEqual(results['distance_unit'], 'mm')
    self.assertEqual(results['test']['num_cases'], 3)
    self.assertEqual(results['indicators']['num_weak'], 19)
    self._check_indicators(workdir)
    with open(os.path.join(workdir, 'cases_test.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    for metric in ('dice', 'hd95', 'assd', 'nsd'):
      values = [[float(row[f'{metric}_class_{c}']) for c in (1, 2)]
                for row in rows]
      self.assertAlmostEqual(
          np.mean(values), results['test'][metric], places=5)

  def _check_indicators(self, workdir):
    with open(os.path.join(workdir, 'indicators.csv'), encoding='utf-8') as f:
      rows = list(csv.DictReader(f))
    self.assertLen(rows, 19)
    self.assertTrue(all(':' in row['id'] for row in rows))
    by_class = np.array([[
        float(row[f'indicator_class_{c}']) for c in (1, 2)] for row in rows])
    np.testing.assert_allclose(
        by_class.mean(1), [float(row['indicator']) for row in rows], atol=2e-6)
    self.assertGreater(np.ptp(by_class, axis=1).max(), 0)

  def _check_dataset(self, workdir):
    """The run keeps the plan, so that its networks can be built again."""
    path = os.path.join(tiny_volumes.data_dir(3), 'plan.json')
    with open(path, encoding='utf-8') as f:
      plan = json.load(f)
    with open(os.path.join(workdir, 'dataset.json'), encoding='utf-8') as f:
      self.assertEqual(json.load(f)['plan'], plan)
    dataset = run_folder.read_dataset(workdir, '')
    self.assertEqual(dataset.image_shape, (6, 8, 8, 1))
    self.assertEqual(dataset.plan.patch_size, (6, 8, 8))

  def _check_evaluation(self, workdir, results):
    """The newest checkpoint is the one that the run has scored."""
    cases = []
    found = finished_run.evaluate_run(workdir, 'test', on_case=cases.append)
    for metric in ('dice', 'hd95', 'nsd'):
      self.assertAlmostEqual(
          found.results[metric], results['test'][metric], places=5)
    self.assertEqual(found.results['distance_unit'], 'mm')
    self.assertEqual([case.id for case in cases], found.ids)
    self.assertEqual(cases[0].prediction.shape, (12, 10))

  def _check_refusals(self, workdir):
    for call in (lambda: observer.open_run(workdir),
                 lambda: predictor.load(workdir),
                 lambda: refining.refine(workdir, workdir + '_refined')):
      with self.assertRaisesRegex(
          binary.UserError, 'was trained on whole volumes'):
        call()


if __name__ == '__main__':
  absltest.main()
