"""A run of commit 2be4bb2 must remain usable by every later version.

Bits are promised within one version only: numbers are compared to rounding.
"""

import contextlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

from absl.testing import absltest
import numpy as np
from PIL import Image

from experiments import binary
from experiments.auditing import evidence as evidence_lib
from experiments.auditing import observer
from experiments.auditing import ranking
from experiments.evaluation import finished_run
from experiments.exporting import artefacts
from experiments.prediction import file_by_file
from experiments.prediction import input_files
from experiments.prediction import pictures
from experiments.prediction import predictor as predictor_lib
from experiments.saving import run_folder
from experiments.training import trainer
from tests import long_only
from tests import xla_flags

_ROOT = pathlib.Path(__file__).parent.parent
_ARCHIVE = _ROOT / 'tests/data/run_2be4bb2.tar.xz'


class OldRunTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    # The stored run names its records by a path relative to the folder in which
    # training was started.
    before = os.getcwd()
    self.addCleanup(os.chdir, before)
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    os.chdir(folder.name)
    with tarfile.open(_ARCHIVE) as archive:
      archive.extractall('.', filter='data')
    out = io.StringIO()
    self.enterContext(contextlib.redirect_stdout(out))
    self.enterContext(contextlib.redirect_stderr(out))

  def _stored(self):
    return json.loads(pathlib.Path('run/metrics.json').read_text('utf-8'))

  def test_evaluate(self):
    found = finished_run.evaluate_run('run', 'test')
    self.assertEqual(found.results['num_cases'], 120)
    self.assertAlmostEqual(
        found.results['dice'], self._stored()['test']['dice'], places=3)

  def test_predict(self):
    os.mkdir('in')
    noise = np.random.default_rng(0).integers(0, 256, (20, 24), np.uint8)
    Image.fromarray(noise).save('in/a.png')
    predictor = predictor_lib.load('run', checkpoint='best')
    self.assertEqual(predictor.step, 4)
    height, width, channels = predictor.dataset.image_shape
    failed = file_by_file.predict_files(
        predictor, input_files.find_inputs(pathlib.Path('in')), 'out',
        tiling=pictures.Tiling((height, width), channels), extras=(),
        should_stop=lambda number: False)
    self.assertEqual(failed, 0)
    self.assertEqual(np.asarray(Image.open('out/masks/a.png')).shape, (20, 24))

  def test_predict_and_evaluate_on_8_devices(self):
    # In training, the strong batch had 4 images, which 8 devices cannot share.
    # Prediction and evaluation must nevertheless work on 8 devices.
    code = (
        'from experiments.prediction import predictor; import jax;'
        'from experiments.evaluation import finished_run;'
        'assert jax.device_count() == 8;'
        'assert predictor.load("run").batch_size == 8;'
        'print(finished_run.evaluate_run("run", "test").results["dice"])')
    found = subprocess.run(
        [sys.executable, '-c', code], text=True, check=True,
        stdout=subprocess.PIPE, env=os.environ | {
            'PYTHONPATH': str(_ROOT), 'NPROC': '16',
            'XLA_FLAGS': xla_flags.with_devices(8)}).stdout
    self.assertAlmostEqual(
        float(found), self._stored()['test']['dice'], places=3)

  def test_export(self):
    artefacts.write(predictor_lib.load('run'), 'run', 'model')
    self.assertIn('MODEL_CARD.md', os.listdir('model'))

  def test_audit(self):
    run = observer.open_run('run')
    records = evidence_lib.audited(run.dataset.splits['train_weak'])
    self.assertLen(records, 108)
    with np.load('run/indicator_history.npz') as stored:
      np.testing.assert_array_equal(run.history.steps, stored['step'])
      np.testing.assert_array_equal([*run.history], stored['indicators'])
    scores = ranking.score(evidence_lib.collect(run))
    self.assertLen(ranking.rank(scores), 108)

  @long_only.only_long
  def test_trains_on(self):
    stored = self._stored()
    shutil.rmtree('run/checkpoints/8')
    os.remove('run/metrics.json')
    results = trainer.train_and_evaluate(run_folder.read_config('run'), 'run')
    self.assertEqual(results['step'], 8)
    self.assertAlmostEqual(
        results['test']['dice'], stored['test']['dice'], places=2)
    self.assertEqual(observer.open_run('run').history.steps.tolist(), [4, 8])

  def test_resume(self):
    with np.load('run/checkpoints/4/history.npz') as old:
      steps, indicators = old['step'], old['indicators']
    self.assertEqual(steps.tolist(), [4])
    shutil.rmtree('run/checkpoints/8')
    os.remove('run/metrics.json')
    # Stop before the first update, so that no step is compiled.
    with self.assertRaises(binary.Stopped):
      trainer.train_and_evaluate(
          run_folder.read_config('run'), 'run', should_stop=lambda step: True)
    # The history has become files.
    np.testing.assert_array_equal(
        np.load('run/indicator_history/0000000004.npy'), indicators[0])
    self.assertFalse(os.path.exists('run/indicator_history.npz'))
    self.assertEqual(observer.open_run('run').history.steps.tolist(), [4])


if __name__ == '__main__':
  absltest.main()
