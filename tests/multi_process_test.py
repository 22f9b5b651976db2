"""Tests of hybridseg.parallel in two processes, which share no memory."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from tests import long_only
from tests import multi_process_worker as worker
from tests import xla_flags

_ROOT = pathlib.Path(__file__).parent.parent
_NUM_PROCESSES = 2
_DEVICES_PER_PROCESS = 2
_KINDS = ('jit', 'pmap')
_TIMEOUT_S = 60


def setUpModule():
  if jax.device_count() < _NUM_PROCESSES * _DEVICES_PER_PROCESS:
    raise RuntimeError('Run with pytest: tests/conftest.py forces 4 devices.')


def _free_port():
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def _environment():
  return os.environ | {
      'XLA_FLAGS': xla_flags.with_devices(_DEVICES_PER_PROCESS),
      'NPROC': '16', 'PYTHONPATH': str(_ROOT)}


class MultiProcessTest(parameterized.TestCase):

  def _folder(self):
    return self.enterContext(tempfile.TemporaryDirectory())

  def _start(self, folder, *, die_at_step=(None, None)):
    """Starts the processes, which are ended with the test in any case."""
    port = _free_port()
    processes = []
    for i in range(_NUM_PROCESSES):
      job = dict(
          port=port, num_processes=_NUM_PROCESSES, process_id=i, kinds=_KINDS,
          folder=folder, die_at_step=die_at_step[i])
      process = subprocess.Popen(
          [sys.executable, '-m', 'tests.multi_process_worker', json.dumps(job)],
          cwd=_ROOT, env=_environment(), text=True, stdout=subprocess.PIPE,
          stderr=subprocess.PIPE)
      self.addCleanup(process.communicate)
      self.addCleanup(process.kill)
      processes.append(process)
    return processes

  def test_equals_one_process_and_one_device(self):
    folder = self._folder()
    processes = self._start(folder)
    expected = {
        (kind, num): worker.train(kind, devices=jax.devices()[:num])
        for kind, num in (('pmap', 1), ('pmap', 4), ('jit', 4))
    }
    for process in processes:
      _, errors = process.communicate(timeout=_TIMEOUT_S)
      self.assertEqual(process.returncode, 0, errors)
    single = expected['pmap', 1]
    self.assertGreater(np.ptp(single["['state'].indicators.weights"]), 0.1)
    for kind in _KINDS:
      first, second = (
          dict(np.load(os.path.join(folder, f'{kind}{i}.npz')))
          for i in range(_NUM_PROCESSES))
      for other in (expected[kind, 4], single):
        self._assert_same(first, other, rtol=1e-5, atol=1e-6)
      # If two processes differ in one bit, they never agree again.
      counts = first.pop("['counts']")
      self.assertGreater(counts.sum(), 0)
      self.assertEmpty(second.pop("['counts']"))
      self._assert_same(first, second, rtol=0, atol=0)

  def _assert_same(self, tree, other, **tolerance):
    self.assertEqual(tree.keys(), other.keys())
    for name in tree:
      np.testing.assert_allclose(
          tree[name], other[name], err_msg=name, **tolerance)

  @parameterized.parameters(*long_only.first_of(((0,), (1,))))
  def test_when_one_is_killed_the_other_ends(self, victim):
    die_at_step = [None, None]
    die_at_step[victim] = 5
    processes = self._start(self._folder(), die_at_step=die_at_step)
    processes[victim].communicate(timeout=_TIMEOUT_S)
    self.assertEqual(processes[victim].returncode, -signal.SIGKILL)
    start = time.monotonic()
    survivor = processes[1 - victim]
    _, errors = survivor.communicate(timeout=_TIMEOUT_S)
    self.assertLess(time.monotonic() - start, _TIMEOUT_S)
    if victim == 0 and survivor.returncode == -signal.SIGABRT:
      # Process 0 keeps the list of processes: JAX aborts the others as soon as
      # its connection breaks, perhaps before Python learns of the step.
      self.assertIn('Terminating process', errors)
    else:
      self.assertEqual(survivor.returncode, 3, errors)
      self.assertIn('Error: lost a process:', errors)
      self.assertNotIn('Traceback', errors)


if __name__ == '__main__':
  absltest.main()
