"""Tests for experiments.evaluation.finished_run, on a tiny run."""

import contextlib
import io
import json
import os
import pathlib
import shutil
from unittest import mock

from absl.testing import absltest
import numpy as np

from experiments import binary
from experiments.evaluation import finished_run
from experiments.evaluation import scoring
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder
from experiments.saving import run_schema
from tests import tiny


class EvaluateRunTest(absltest.TestCase):

  def _run(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    shutil.copytree(tiny.run_dir(), workdir)
    return workdir

  def test_originals_of_the_records_size_give_the_final_evaluation(self):
    workdir = self._run()
    with open(os.path.join(workdir, 'metrics.json'), encoding='utf-8') as f:
      trained = json.load(f)['test']
    shown = []
    found = finished_run.evaluate_run(workdir, 'test', on_case=shown.append)
    self.assertEqual(found.results['resolution'], 'original')
    self.assertEqual(found.results['distance_unit'], 'px')
    self.assertLen(shown, trained['num_cases'])
    for name in 'dice', 'iou', 'precision', 'recall', 'volume_error':
      self.assertAlmostEqual(found.results[name], trained[name], places=6)
      for a, b in zip(found.results[f'{name}_interval_95'],
                      trained[f'{name}_interval_95'], strict=True):
        self.assertAlmostEqual(a, b, places=6)
    self.assertBetween(found.results['ece'], 0, 1)
    path = os.path.join(workdir, 'evaluation_test.json')
    self.assertEqual(run_schema.read(path), found.results)

  def test_batch_size_changes_no_metric(self):
    load, found = predictor_lib.load, []
    for size in 4, 8, 12:  # The tests have four devices.
      batches_of = lambda *args, size=size, **kwargs: load(
          *args, **kwargs)._replace(batch_size=size)
      with mock.patch.object(predictor_lib, 'load', batches_of):
        found.append(finished_run.evaluate_run(self._run(), 'test').results)
    for results in found[1:]:
      self.assertAlmostEqual(results.pop('ece'), found[0]['ece'], places=6)
      self.assertEqual(
          results, {k: v for k, v in found[0].items() if k != 'ece'})

  def _with_data(self):
    """Returns a copy of the run, and a copy of its data."""
    workdir, data_dir = self._run(), os.path.join(tiny.temp_dir(self), 'data')
    shutil.copytree(tiny.data_dir(), data_dir)
    path = os.path.join(workdir, 'config.json')
    config = run_schema.read(path)
    config['input']['data_dir'] = data_dir
    run_folder.write_json(path, config)
    return workdir, pathlib.Path(data_dir)

  def test_a_volume_is_one_case_in_3d(self):
    workdir, data_dir = self._with_data()
    slices = []
    finished_run.evaluate_run(workdir, 'test', on_case=slices.append)
    ids = [case.id for case in slices]
    affine = np.diag([2.0, 1, 1, 1]).tolist()
    # The second slice is in no split, so its place in the volume is unlabelled.
    run_folder.write_json(str(data_dir / 'volumes.json'), {
        'v': {'axis': 0, 'ids': [ids[0], 'other', *ids[1:4]],
              'affine': affine},
        'alone': {'axis': 0, 'ids': [ids[4]], 'affine': affine}})
    shown = []
    found = finished_run.evaluate_run(workdir, 'test', on_case=shown.append)
    self.assertCountEqual(found.ids, ['v', *ids[4:]])
    truth, prediction = (
        np.stack([getattr(case, name) for case in slices[:4]])
        for name in ('truth', 'prediction'))
    expected = scoring.score_case(
        np.insert(prediction, 1, 1, axis=0),
        np.insert(truth, 1, 255, axis=0), num_classes=2, spacing=None,
        tolerance=2.0)
    for name, values in expected.items():
      self.assertEqual(
          found.scores[name][found.ids.index('v'), 1], values[1], name)
    (volume,) = [case for case in shown if case.id == 'v']
    self.assertEqual(volume.truth.shape, truth[0].shape)

  def test_another_set_is_refused(self):
    workdir, data_dir = self._with_data()
    path = data_dir / 'manifest.jsonl'
    text = path.read_text(encoding='utf-8')
    path.write_text(text.replace('"split": "train"', '"split": "test"', 1),
                    encoding='utf-8')
    with self.assertRaisesRegex(binary.UserError, 'holds another set'):
      finished_run.evaluate_run(workdir, 'test')

  def test_no_picture_is_taken_from_outside_the_set(self):
    # A report shows pictures to anyone who receives it.
    workdir, data_dir = self._with_data()
    shutil.move(data_dir / 'images', data_dir.with_name('elsewhere'))
    (data_dir / 'images').symlink_to(data_dir.with_name('elsewhere'))
    with contextlib.redirect_stderr(io.StringIO()):
      found = finished_run.evaluate_run(workdir, 'test')
    self.assertEqual(found.results['resolution'], 'records, 16 x 16')

  def test_records_serve_where_the_originals_are_gone(self):
    workdir, data_dir = self._with_data()
    shutil.rmtree(data_dir / 'images')
    with contextlib.redirect_stderr(io.StringIO()) as err:
      found = finished_run.evaluate_run(workdir, 'test')
    self.assertIn('notice: the pictures of test are not where', err.getvalue())
    original = finished_run.evaluate_run(self._run(), 'test')
    self.assertEqual(found.results['resolution'], 'records, 16 x 16')
    self.assertEqual(found.results['dice'], original.results['dice'])
    self.assertEqual(found.results['hd95'], original.results['hd95'])


if __name__ == '__main__':
  absltest.main()
