"""Tests for experiments.launcher."""

import json
import os
import platform
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from experiments import launcher
from tests import tiny


class PinNumericsTest(parameterized.TestCase):

  def _run_dir(self, **session):
    folder = tiny.temp_dir(self)
    with open(os.path.join(folder, 'run.json'), 'w', encoding='utf-8') as f:
      json.dump({'sessions': [session, {'nproc': '99'}]}, f)
    return folder

  def _pin(self, *argv, **environ):
    with mock.patch.dict(os.environ, environ):
      for name in {'NPROC', 'XLA_FLAGS'} - environ.keys():
        os.environ.pop(name, None)
      launcher.pin_numerics(['train.py', *argv])
      return os.environ['NPROC'], os.environ.get('XLA_FLAGS', '')

  def test_new_run_takes_the_cores_or_what_it_is_told(self):
    self.assertEqual(self._pin()[0], str(os.cpu_count()))
    self.assertEqual(self._pin(NPROC='3')[0], '3')
    forced = '--xla_force_host_platform_device_count=64'
    self.assertEqual(self._pin(XLA_FLAGS=forced), ('128', forced))

  @parameterized.parameters('--workdir={}', '-workdir {}', '--workdir {}')
  def test_resumed_run_keeps_its_threads(self, form):
    argv = form.format(self._run_dir(nproc='7')).split()
    self.assertEqual(self._pin(*argv)[0], '7')
    self.assertEqual(self._pin(*argv, NPROC='3')[0], '7')

  def test_reproduced_run_decides(self):
    argv = [f'--reproduce={self._run_dir(nproc="7")}',
            f'--workdir={self._run_dir(nproc="8")}']
    self.assertEqual(self._pin(*argv)[0], '7')

  def test_run_of_a_weaker_processor_caps_the_instructions(self):
    with mock.patch.object(launcher, 'cpu_isa', return_value='AVX512'):
      _, flags = self._pin(
          f'--workdir={self._run_dir(nproc="2", cpu_isa="AVX2")}',
          XLA_FLAGS='--x=1')
    self.assertEqual(flags, '--x=1 --xla_cpu_max_isa=AVX2')
    with mock.patch.object(launcher, 'cpu_isa', return_value='AVX2'):
      _, flags = self._pin(
          f'--workdir={self._run_dir(nproc="2", cpu_isa="AVX512")}')
    self.assertEqual(flags, '')

  @parameterized.parameters('', '{', '[]', '{"sessions": []}')
  def test_damaged_run_json_is_no_obstacle(self, text):
    folder = tiny.temp_dir(self)
    with open(os.path.join(folder, 'run.json'), 'w', encoding='utf-8') as f:
      f.write(text)
    self.assertEqual(
        self._pin(f'--workdir={folder}')[0], str(os.cpu_count()))

  def test_loads_no_jax(self):
    code = ('import sys; from experiments import launcher; '
            'assert "jax" not in sys.modules')
    subprocess.run([sys.executable, '-c', code], check=True)

  @absltest.skipIf(platform.libc_ver()[0] != 'glibc', 'needs glibc')
  def test_few_arenas_whatever_the_threads(self):
    code = '''
import ctypes, sys, threading
from experiments import launcher
if sys.argv[1] == 'limit':
  launcher.limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(8)
def work():
  together.wait()
  libc.malloc(5000)
  together.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
out = ctypes.c_void_p(libc.fdopen(1, b'w'))
libc.malloc_info(0, out)
libc.fflush(out)
'''
    count = lambda argument: subprocess.run(
        [sys.executable, '-c', code, argument], check=True, text=True,
        capture_output=True).stdout.count('<heap nr=')
    self.assertLessEqual(count('limit'), 2)
    self.assertGreater(count('free'), 2)


if __name__ == '__main__':
  absltest.main()
