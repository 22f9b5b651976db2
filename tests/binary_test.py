"""Tests that every mistake on the command line gives one line and code 2."""

import os
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests import forked
from tests import tiny

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CONFIG = '--config=experiments/configs/phantom.py'
_WORKDIR = '--workdir=never_made'


class BinaryTest(parameterized.TestCase):

  @parameterized.named_parameters(
      ('flag', (_CONFIG, _WORKDIR, '--wrkdir=x'), 'Did you mean: workdir'),
      ('key', (_CONFIG, _WORKDIR, '--config.train_step=1'),
       "did you mean 'train_steps'"),
      ('place', (_CONFIG, _WORKDIR, '--config.model.learning_rate=1'),
       "'learning_rate': did you mean 'optimizer.learning_rate'?"),
      ('value', (_CONFIG, _WORKDIR, '--config.train_steps=x'), 'invalid'),
      ('variant', (_CONFIG + ':nope', _WORKDIR), "Unknown variant 'nope'"),
      ('file', ('--config=no.py', _WORKDIR), 'no such file: no.py'),
      ('missing', (_CONFIG,), '--workdir is required'),
      ('stray', (_CONFIG, _WORKDIR, 'stray'), 'Unexpected arguments: stray'),
      ('data', (_CONFIG, _WORKDIR, '--config.input.data_dir=no'),
       'No records at no/records'),
  )
  def test_train(self, args, message):
    done = forked.run('experiments.train', *args)
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertIn(message, done.stderr)
    self.assertLen(done.stderr.strip().splitlines(), 1, done.stderr)
    self.assertFalse(os.path.exists(os.path.join(_ROOT, 'never_made')))

  def test_device_that_is_not_there(self):
    done = subprocess.run(
        (sys.executable, '-m', 'experiments.train', _CONFIG + ':debug',
         _WORKDIR, f'--config.input.data_dir={tiny.data_dir()}'), cwd=_ROOT,
        capture_output=True, text=True, check=False,
        env=os.environ | {'JAX_PLATFORMS': 'cuda'})
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertIn('no device for JAX_PLATFORMS=cuda', done.stderr)
    self.assertFalse(os.path.exists(os.path.join(_ROOT, 'never_made')))

  def test_evaluate_without_a_run(self):
    done = forked.run('experiments.evaluate', _WORKDIR)
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertIn('No run at never_made', done.stderr)
    self.assertLen(done.stderr.strip().splitlines(), 1, done.stderr)


if __name__ == '__main__':
  absltest.main()
