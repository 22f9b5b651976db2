"""Tests of data_prep.sets.remote_source, with the store in fsspec's memory."""

import contextlib
import errno
import io
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import fsspec

from data_prep import command_line
from data_prep.sets import remote_source


class RemoteSourceTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.store = fsspec.filesystem('memory')
    self.store.store.clear()
    self.store.pseudo_dirs[:] = ['']
    self.put('set/images/a.png', b'one')
    self.put('set/masks/a.png', b'two')
    self.put('settings/other', b'not of the set')
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory())) / 'copy'

  def put(self, path, content):
    self.store.pipe_file(f'/{path}', content)

  def fetch(self, source='memory://set'):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      found = remote_source.find_local(source, str(self.folder))
    self.assertEqual(found, str(self.folder))
    return printed.getvalue().split()[1]

  def files(self):
    return {str(p.relative_to(self.folder)): p.read_bytes()
            for p in self.folder.rglob('*') if p.is_file()}

  def test_copies_what_has_changed(self):
    self.assertEqual(self.fetch(), '2')
    self.assertEqual(
        self.files(), {'images/a.png': b'one', 'masks/a.png': b'two'})
    self.assertEqual(self.fetch(), '0')
    self.put('set/images/a.png', b'new')
    self.put('set/images/b.png', b'more')
    self.store.rm('/set/masks/a.png')
    self.assertEqual(self.fetch(), '2')
    self.assertEqual(
        self.files(), {'images/a.png': b'new', 'images/b.png': b'more'})

  def test_a_store_that_tells_no_state_is_copied_again(self):
    self.fetch()
    with mock.patch.object(remote_source, '_STATES', ()):
      self.assertEqual(self.fetch(), '2')

  def test_goes_on_after_a_stop(self):
    self.fetch()
    (self.folder / 'images/a.png').rename(
        self.folder / 'images/a.png.unfinished')
    self.assertEqual(self.fetch(), '1')
    self.assertEqual(
        self.files(), {'images/a.png': b'one', 'masks/a.png': b'two'})

  def test_never_touches_files_that_it_did_not_copy(self):
    self.folder.mkdir()
    (self.folder / 'mine').write_bytes(b'mine')
    for _ in range(2):  # Before, and beside a copy.
      with self.assertRaisesRegex(command_line.Refused, "other.*'mine'"):
        self.fetch()
      self.assertEqual((self.folder / 'mine').read_bytes(), b'mine')
      (self.folder / 'mine').unlink()
      self.fetch()
      (self.folder / 'mine').write_bytes(b'mine')

  def test_unfinished_files_of_the_user_stay(self):
    self.fetch()
    (self.folder / 'mine.unfinished').write_bytes(b'mine')
    with self.assertRaisesRegex(command_line.Refused, "other.*'mine.unfin"):
      self.fetch()
    self.assertTrue((self.folder / 'mine.unfinished').exists())

  def test_a_full_disk_is_not_the_fault_of_the_source(self):
    full = OSError(errno.ENOSPC, 'No space left on device')
    with mock.patch.object(type(self.store), 'get_file', side_effect=full):
      with self.assertRaises(OSError) as caught:
        self.fetch()
    self.assertEqual(caught.exception.filename, str(self.folder))

  def test_a_password_is_not_told(self):
    with self.assertRaises(command_line.Refused) as caught:
      self.fetch('unheard-of://me:secret@host/set')
    self.assertIn('unheard-of://***@host/set', str(caught.exception))
    self.assertNotIn('secret', str(caught.exception))

  def test_one_folder_holds_one_source(self):
    self.fetch()
    with self.assertRaisesRegex(command_line.Refused, 'copy of memory://set:'):
      self.fetch('memory://settings')
    self.folder.with_name('copy.fetched.json').write_text('{')
    with self.assertRaisesRegex(command_line.Refused, 'damaged: remove it'):
      self.fetch()

  @parameterized.parameters(
      ('memory://nothing', 'memory://nothing holds no file'),
      ('memory://set/images/a.png', 'a.png is a file: name the folder'),
      ('unheard-of://x', 'cannot be used: Protocol not known'))
  def test_refuses(self, source, words):
    with self.assertRaisesRegex(command_line.Refused, words):
      self.fetch(source)
    self.assertFalse(self.folder.exists())

  def test_flags_that_do_not_fit(self):
    with self.assertRaisesRegex(command_line.Refused, '--fetch_to=FOLDER'):
      remote_source.find_local('s3://bucket/set', None)
    with self.assertRaisesRegex(command_line.Refused, 'is for a --source such'):
      self.fetch('local/folder')
    with self.assertRaisesRegex(command_line.Refused, 'a folder of its own'):
      remote_source.find_local('memory://set', '/')
    self.assertEqual(remote_source.find_local('local', None), 'local')
    self.assertIsNone(remote_source.find_local(None, None))

  def test_names_cannot_lead_out(self):
    self.put('set/../out', b'x')
    with self.assertRaisesRegex(command_line.Refused, 'below a folder'):
      self.fetch()
    self.assertFalse(self.folder.exists())


if __name__ == '__main__':
  absltest.main()
