"""Tests for training.stopping, and for stopping the train binary."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from absl.testing import absltest
from absl.testing import parameterized

from experiments.saving import checkpoints
from experiments.training import stopping
from tests import tiny

_ROOT = pathlib.Path(__file__).parent.parent


class StopRequestTest(parameterized.TestCase):

  @parameterized.parameters(signal.SIGTERM, signal.SIGINT)
  def test_asks_to_stop_and_gives_the_signals_back(self, number):
    before = signal.getsignal(number)
    with stopping.StopRequest() as request:
      request.nothing_to_save = False
      self.assertFalse(request(0))
      os.kill(os.getpid(), number)
      deadline = time.monotonic() + 5
      while not request(0) and time.monotonic() < deadline:
        time.sleep(0.01)
      self.assertTrue(request(0))
    self.assertEqual(signal.getsignal(number), before)
    self.assertEqual(signal.set_wakeup_fd(-1), -1)

  def test_second_ctrl_c_interrupts(self):
    with stopping.StopRequest() as request:
      request.nothing_to_save = False
      os.kill(os.getpid(), signal.SIGINT)
      while not request(0):
        time.sleep(0.01)
      with self.assertRaises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

  def test_one_ctrl_c_is_one_whoever_sees_it_first(self):
    with stopping.StopRequest() as request:
      request.nothing_to_save = False
      request._requested.set()  # The thread that watches the pipe does this.
      request._handle(signal.SIGINT, None)
      with self.assertRaises(KeyboardInterrupt):
        request._handle(signal.SIGINT, None)

  def test_ends_by_itself_while_there_is_nothing_to_save(self):
    # `sleep` and `input` stand for long calls during which Python cannot handle
    # a signal.
    code = ('from experiments.training import stopping\n'
            'with stopping.StopRequest(patience_s=0.1):\n'
            '  print("ready", flush=True)\n'
            '  import ctypes; ctypes.CDLL(None).sleep(60); input()')
    process = subprocess.Popen(
        [sys.executable, '-c', code], cwd=_ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    self.assertEqual(process.stdout.readline(), 'ready\n')
    process.send_signal(signal.SIGTERM)
    self.assertEqual(process.wait(30), 0)
    self.assertIn('Stopped before anything new', process.stdout.read())


class TrainBinaryTest(absltest.TestCase):

  def test_sigterm_saves_and_exits_with_0(self):
    workdir = os.path.join(tiny.temp_dir(self), 'run')
    process = subprocess.Popen(
        [sys.executable, '-m', 'experiments.train', f'--workdir={workdir}',
         '--config=experiments/configs/phantom.py:strong_only,debug',
         f'--config.input.data_dir={tiny.data_dir()}',
         '--config.train_steps=100000',
         '--config.checkpoint_every_steps=100000',
         '--config.eval_every_steps=100000'],
        cwd=_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    for line in process.stdout:
      if line.startswith('step '):
        break
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=60)
    self.assertEqual(process.returncode, 0, errors)
    self.assertNotIn('Traceback', errors)
    last = rest.strip().splitlines()[-1]
    self.assertRegex(last, r'^Stopped at step \d+ of 100000, saved in ')
    step = int(last.split()[3])
    self.assertGreater(step, 0)
    self.assertEqual(checkpoints.Checkpoints(workdir).steps(), [step])


if __name__ == '__main__':
  absltest.main()
