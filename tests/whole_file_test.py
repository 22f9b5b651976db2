"""Tests for data_prep.shared.whole_file."""

import contextlib
import fcntl
import io
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

from absl.testing import absltest

from data_prep.shared import whole_file

_ROOT = pathlib.Path(whole_file.__file__).parents[2]


class WholeFileTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self._path = pathlib.Path(folder.name, 'a')

  def test_the_new_one_is_seen_when_it_is_complete(self):
    self._path.write_text('old')
    with whole_file.open_whole(self._path, encoding='utf-8') as file:
      file.write('ü')
      file.flush()
      self.assertEqual(self._path.read_text(), 'old')
    self.assertEqual(self._path.read_text(encoding='utf-8'), 'ü')
    with whole_file.open_whole(self._path, 'wb') as file:
      file.write(b'\xff')
    self.assertEqual(self._path.read_bytes(), b'\xff')

  def test_nothing_is_left_of_what_fails(self):
    for error in OSError, KeyboardInterrupt:
      with self.assertRaises(error):
        with whole_file.open_whole(self._path) as file:
          file.write('half')
          raise error
    self.assertEqual(os.listdir(self._path.parent), [])

  def test_no_link_is_followed(self):
    # In a folder of another person, a link could lead to any file of the user,
    # which would then be overwritten.
    other = self._path.with_name('other')
    other.write_text('precious')
    for name in 'a', '.a.tmp':
      self._path.with_name(name).symlink_to(other)
      with whole_file.open_whole(self._path) as file:
        file.write('new')
      self.assertFalse(self._path.is_symlink())
      self.assertEqual(self._path.read_text(), 'new')
      self._path.unlink()
      self.assertEqual(other.read_text(), 'precious')

  def test_no_such_folder(self):
    with self.assertRaises(FileNotFoundError):
      with whole_file.open_whole(self._path / 'b'):
        pass

  def test_a_folder_is_renamed_or_gone(self):
    output = self._path
    with whole_file.folder_beside(output) as temporary:
      (temporary / 'b').touch()
      self.assertEqual(temporary.stat().st_mode & 0o777, 0o755)
      os.rename(temporary, output)
    self.assertEqual(os.listdir(output.parent), ['a'])
    with self.assertRaises(KeyError):
      with whole_file.folder_beside(output) as temporary:
        (temporary / 'half').touch()
        raise KeyError
    self.assertEqual(os.listdir(output.parent), ['a'])

  def test_what_a_killed_process_left_is_removed(self):
    code = textwrap.dedent("""
        import os, pathlib, signal, sys
        from data_prep.shared import whole_file
        with whole_file.folder_beside(pathlib.Path(sys.argv[1])) as folder:
          (folder / 'images').mkdir()
          (folder / 'images/a.png').touch()
          if sys.argv[2] == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
          print(folder, flush=True)
          sys.stdin.read()
        """)
    start = lambda path, how: subprocess.Popen(
        [sys.executable, '-c', code, str(path), how], text=True, cwd=_ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    parent = self._path.parent
    # Unfinished folders of other outputs must not be removed.
    for name in 'a', 'a.b':
      with start(parent / name, 'kill') as process:
        process.communicate()
      self.assertEqual(process.returncode, -signal.SIGKILL)
    self.assertLen(os.listdir(parent), 2)
    # The process for the output 'a' removes the unfinished folder that the
    # killed process left for the same output.
    running = start(self._path, 'run')
    alive = pathlib.Path(running.stdout.readline().strip())
    self.assertLen(os.listdir(parent), 2)
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
      for _ in range(2):
        with whole_file.folder_beside(self._path):
          # The folder of the process that is still running is kept.
          self.assertTrue((alive / 'images/a.png').exists())
    self.assertEqual(out.getvalue(), '')
    running.kill()
    running.communicate()
    (parent / '.a.mine').mkdir()
    with contextlib.redirect_stderr(out):
      with whole_file.folder_beside(self._path):
        self.assertFalse(alive.exists())
    self.assertEqual(
        out.getvalue(), f'notice: removed {alive.name}, which a process that '
        'was killed had left beside a\n')
    left = sorted(os.listdir(parent))
    self.assertLen(left, 2)
    self.assertEqual(left[1], '.a.mine')
    self.assertStartsWith(left[0], '.a.b.')

  def test_a_disk_without_locks(self):
    with mock.patch.object(
        whole_file.fcntl, 'flock', side_effect=OSError('no locks')):
      with whole_file.folder_beside(self._path) as one:
        with whole_file.folder_beside(self._path) as two:
          self.assertNotEqual(one, two)
          self.assertTrue(one.exists())
    self.assertEqual(os.listdir(self._path.parent), [])

  def test_one_that_was_taken_away_before_it_was_locked(self):
    flock, taken = fcntl.flock, []

    def take_away(descriptor, how):
      if not taken:
        taken.extend(self._path.parent.iterdir())
        os.rmdir(taken[0])
      flock(descriptor, how)

    with mock.patch.object(whole_file.fcntl, 'flock', take_away):
      with whole_file.folder_beside(self._path) as folder:
        self.assertTrue(folder.exists())
        self.assertNotEqual([folder], taken)


if __name__ == '__main__':
  absltest.main()
