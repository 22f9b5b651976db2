"""Tests for experiments.program_cache."""

import contextlib
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax

from experiments import program_cache
from tests import tiny

# Prints the bits of a computed number, and whether its program was compiled or
# read from the cache.
_PROGRAM = """
import jax
from experiments import program_cache
print(program_cache.turn_on())
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
x = jax.jit(lambda x: jax.numpy.sin(x) @ x)(jax.numpy.eye(7) + 0.1)
print(bytes(x).hex())
print(events.count('/jax/compilation_cache/cache_hits'),
      events.count('/jax/compilation_cache/cache_misses'))
"""


def _run(folder):
  """Runs `_PROGRAM` with a cache folder; returns its stdout and stderr."""
  clean = {k: v for k, v in os.environ.items() if not k.startswith('JAX_')}
  done = subprocess.run(
      [sys.executable, '-c', _PROGRAM], capture_output=True, text=True,
      check=True, env=clean | {
          'JAX_COMPILATION_CACHE_DIR': folder, 'JAX_PLATFORMS': 'cpu'})
  return done.stdout.splitlines(), done.stderr


class StorageTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(tiny.temp_dir(self), 'hybridseg-here')

  def _cache(self, max_bytes=10_000):
    return program_cache.ProgramCache(str(self._folder), max_bytes=max_bytes)

  def test_returns_what_was_put(self):
    self.assertIsNone(self._cache().get('a'))
    self._cache().put('a', b'program')
    self.assertEqual(self._cache().get('a'), b'program')
    self.assertEqual(self._folder.stat().st_mode & 0o777, 0o700)

  @parameterized.parameters(b'', b'half', b'\0' * 100)
  def test_damaged_program_is_removed_and_can_be_put_again(self, content):
    self._cache().put('a', b'program')
    path, = self._folder.iterdir()
    path.write_bytes(content)
    self.assertIsNone(self._cache().get('a'))
    self.assertEmpty(list(self._folder.iterdir()))
    self._cache().put('a', b'program')
    self.assertEqual(self._cache().get('a'), b'program')

  def test_one_flipped_bit_is_noticed(self):
    self._cache().put('a', b'program')
    path, = self._folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    self.assertIsNone(self._cache().get('a'))

  def test_programs_unused_for_longest_are_removed(self):
    for i, name in enumerate('abc'):
      self._cache().put(name, b'x' * 1000)
      path, = self._folder.glob(f'{name}.*')
      os.utime(path, (i, i))
    self._cache().get('a')  # Used now, so `b` is the oldest.
    self._cache(max_bytes=3300).put('d', b'x' * 1000)
    self.assertEqual(
        sorted(path.stem for path in self._folder.iterdir()), ['a', 'c', 'd'])

  def test_other_machines_count_and_foreign_files_stay(self):
    other = self._folder.parent / 'hybridseg-other'
    other.mkdir()
    (other / 'old.program').write_bytes(b'x' * 5000)
    (other / '.killed.tmp').write_bytes(b'x' * 5000)
    for path in other.iterdir():
      os.utime(path, (1, 1))
    foreign = self._folder.parent / 'photo.jpg'
    foreign.write_bytes(b'x' * 50_000)
    self._cache().put('a', b'x')
    self.assertLen(list(other.iterdir()), 1)
    self.assertTrue(foreign.exists())

  def test_nothing_fails_without_a_place(self):
    self._folder.write_bytes(b'a file, where the folder should be')
    self._cache().put('a', b'program')
    self.assertIsNone(self._cache().get('a'))


class TurnOnTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._unchanged = program_cache._here()

  def test_second_process_reads_the_program_and_gets_the_same_bits(self):
    folder = tiny.temp_dir(self)
    (where, cold, found), stderr = _run(folder)
    self.assertStartsWith(where, f'{folder}/hybridseg-')
    self.assertEqual(stderr, '')
    hits, misses = found.split()
    self.assertEqual(hits, '0')
    self.assertGreater(int(misses), 0)
    damaged = next(pathlib.Path(where).iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-1])
    self.assertEqual(
        _run(folder), ([where, cold, f'{int(misses) - 1} 1'], ''))
    self.assertEqual(_run(folder)[0], [where, cold, f'{misses} 0'])

  def test_lies_in_the_cache_folder_of_the_user(self):
    with mock.patch.dict(os.environ, XDG_CACHE_HOME='/a', HOME='/b'):
      self.assertEqual(program_cache._default_folder(), '/a/hybridseg/programs')
      os.environ['XDG_CACHE_HOME'] = 'not/absolute'
      self.assertEqual(
          program_cache._default_folder(), '/b/.cache/hybridseg/programs')

  def test_is_off_where_jax_keeps_nothing(self):
    self._keep_settings()
    before = jax.config.jax_compilation_cache_dir
    jax.config.update('jax_enable_compilation_cache', False)
    self.assertEqual(program_cache.turn_on(), '')
    self.assertEqual(jax.config.jax_compilation_cache_dir, before)

  def _keep_settings(self):
    for name in ('jax_compilation_cache_dir', 'jax_enable_compilation_cache'):
      self.addCleanup(jax.config.update, name, getattr(jax.config, name))

  @parameterized.parameters(
      dict(NPROC='3'), dict(XLA_FLAGS='--xla_cpu_max_isa=AVX2'))
  def test_folder_depends_on_threads_and_flags(self, **environ):
    with mock.patch.dict(os.environ, environ):
      self._assert_other_folder()

  def test_folder_depends_on_the_processor(self):
    with mock.patch.object(
        program_cache, '_processor', lambda: [('flags', 'sse4_2')]):
      self._assert_other_folder()

  def _assert_other_folder(self):
    changed = program_cache._here()
    self.assertStartsWith(changed, 'hybridseg-')
    self.assertNotEqual(changed, self._unchanged)

  def test_refuses_a_folder_that_others_may_write(self):
    folder = tiny.temp_dir(self)
    shared = pathlib.Path(folder, program_cache._here())
    shared.mkdir()
    shared.chmod(0o777)
    self._keep_settings()
    jax.config.update('jax_compilation_cache_dir', folder)
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
      self.assertEqual(program_cache.turn_on(), '')
    self.assertFalse(jax.config.jax_enable_compilation_cache)
    self.assertIn('may be written by other users', stderr.getvalue())
    self.assertLess(len(stderr.getvalue()), 300)


if __name__ == '__main__':
  absltest.main()
