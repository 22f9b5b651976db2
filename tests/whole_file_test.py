"""Tests for data_prep.whole_file."""

import os
import pathlib
import tempfile

from absl.testing import absltest

from data_prep import whole_file


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


if __name__ == '__main__':
  absltest.main()
