"""Tests for data_prep.shared.system_errors, and for binaries that use it."""

import contextlib
import errno
import io
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from data_prep import command_line
from data_prep import manifest
from data_prep.records import builder
from data_prep.records import shards
from data_prep.shared import system_errors
from data_prep.shared import whole_file
from experiments import binary
from experiments.saving import run_folder
from tests import prepare_binary
from tests import seven_rows
from tests import tiny

_ROOT = pathlib.Path(__file__).parent.parent


def _full(*unused_args, **unused_kwargs):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class SystemErrorsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)

  @parameterized.parameters(
      (errno.ENOSPC, r'/x cannot be written \(No space left on device, '
       r'[\d.]+ MiB free\): make room, or write to another disk, and start'),
      (errno.EDQUOT, r'/x cannot be written .* MiB free\): make room'),
      (errno.EACCES, r'/x cannot be used \(Permission denied\): change its'),
      (errno.ENOENT, r'/x cannot be used \(No such .*\): correct the path'),
  )
  def test_in_words(self, number, pattern):
    error = OSError(number, os.strerror(number))
    path = os.path.join(self.folder, 'not', 'there', 'x')
    line = system_errors.in_words(error, path)
    self.assertRegex(line, pattern)
    self.assertLessEqual(len(line), 200)
    error.filename = '/' + 'long/' * 60
    line = system_errors.in_words(error)
    self.assertLessEqual(len(line), 193)
    self.assertNotIn('\n', line)

  def test_a_pipe_is_no_file(self):
    error = BrokenPipeError(errno.EPIPE, 'Broken pipe')
    for in_words in system_errors.in_words, system_errors.why:
      with self.assertRaises(BrokenPipeError):
        in_words(error, self.folder)

  def test_a_file_written_whole_names_itself_and_not_its_other_name(self):
    path = os.path.join(self.folder, 'a.json')
    for write in _full, lambda file: os.fsync(_full()):
      with self.assertRaises(OSError) as caught:
        with whole_file.open_whole(path) as file:
          write(file)
      self.assertEqual(caught.exception.filename, path)
    self.assertEqual(os.listdir(self.folder), [])
    output = pathlib.Path(self.folder) / 'out'
    with self.assertRaises(OSError) as caught:
      with whole_file.folder_beside(output) as folder:
        with whole_file.open_whole(folder / 'a'):
          _full()
    self.assertEqual(caught.exception.filename, str(output))

  def test_records(self):
    written = seven_rows.write(self.folder)
    full = RuntimeError('write() failed: No space left on device; writing x')
    with mock.patch.object(
        shards.array_record_module, 'ArrayRecordWriter') as writer:
      writer.return_value.close.side_effect = full
      with self.assertRaises(OSError) as caught:
        builder.build(written, output=f'{self.folder}/r', image_size=4)
    self.assertEqual(caught.exception.errno, errno.ENOSPC)


class BinaryTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = tiny.temp_dir(self)

  def test_prepare(self):
    output = os.path.join(self.folder, 'set')
    with mock.patch.object(manifest.json, 'dumps', _full):
      code, _, lines = prepare_binary.run(
          '--dataset=phantom', '--image_size=8', f'--output={output}')
    self.assertEqual((code, len(lines)), (2, 1), lines)
    self.assertRegex(
        lines[0], f'{output} cannot be written .No space .* MiB free.: make')
    self.assertEqual(os.listdir(self.folder), [])

  def test_what_is_no_file_of_data_prep(self):
    def body():
      raise BrokenPipeError(errno.EPIPE, 'Broken pipe')
    with self.assertRaises(BrokenPipeError):
      command_line.run(['x'], body)

  def test_run(self):
    path = os.path.join(self.folder, 'plan.json')
    with mock.patch.object(run_folder.json, 'dump', _full):
      code, line = self.run_binary(lambda: run_folder.write_json(path, {}))
    self.assertEqual(code, 2)
    self.assertRegex(line, rf'^Error: {path} cannot be written \(No .*\n$')

  def run_binary(self, main):
    with (contextlib.redirect_stderr(io.StringIO()) as err,
          mock.patch.object(
              binary.app, 'run', lambda main, **unused: main(['x'])),
          self.assertRaises(SystemExit) as caught):
      binary.run(main)
    return caught.exception.code, err.getvalue()

  @parameterized.parameters(
      ('experiments.compare', '--results=r/a.csv,r/b.csv'),
      ('data_prep.export', '--help'),
  )
  def test_pipe_that_nobody_reads(self, module, *args):
    os.mkdir(os.path.join(self.folder, 'r'))
    for name in 'ab':
      with open(f'{self.folder}/r/{name}.csv', 'w', encoding='utf-8') as f:
        f.write('id,subject,dice_x\n1,1,0.5\n2,2,0.25\n')
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        (sys.executable, '-m', module, *args), cwd=self.folder, stdout=write,
        stderr=subprocess.PIPE, text=True, check=False,
        env=os.environ | {'PYTHONPATH': str(_ROOT)})
    os.close(write)
    self.assertEqual(done.stderr, '')
    self.assertEqual(done.returncode, 141)


if __name__ == '__main__':
  absltest.main()
