"""Tests of data_prep.sets.remote_target, with the store in fsspec's memory."""

import contextlib
import io
import json
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import fsspec

from data_prep import command_line
from data_prep.sets import remote_target

_URL = 'memory://bucket/mine'


class RemoteTargetTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.store = fsspec.filesystem('memory')
    self.store.store.clear()
    self.store.pseudo_dirs[:] = ['']
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory())) / 'set'
    (self.folder / 'records').mkdir(parents=True)
    self.put('manifest.jsonl', 'one')
    self.put('records/a', 'two')

  def put(self, name, text):
    (self.folder / name).write_text(text)

  def send(self):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      remote_target.check(str(self.folder), _URL)
      remote_target.send(str(self.folder), _URL)
    return printed.getvalue().split()[1]

  def sent(self):
    found = {path.removeprefix('/bucket/mine/'): self.store.cat_file(path)
             for path in self.store.find('/bucket/mine')}
    index = json.loads(found.pop(remote_target.INDEX))
    return found, index

  def test_copies_what_has_changed_and_removes_what_is_gone(self):
    self.assertEqual(self.send(), '2')
    found, index = self.sent()
    self.assertEqual(found, {'manifest.jsonl': b'one', 'records/a': b'two'})
    self.assertEqual(index['files'].keys(), found.keys())
    self.assertEqual(self.send(), '0')
    self.put('manifest.jsonl', 'new')
    self.put('records/b', 'more')
    self.put('.lock', '')
    (self.folder / 'records/a').unlink()
    self.assertEqual(self.send(), '2')
    found, index = self.sent()
    self.assertEqual(found, {'manifest.jsonl': b'new', 'records/b': b'more'})
    self.assertEqual(index['files'].keys(), found.keys())

  def test_a_store_that_needs_folders(self):
    store = self.folder.with_name('store') / 'mine'
    with contextlib.redirect_stdout(io.StringIO()):
      for _ in range(2):
        remote_target.check(str(self.folder), f'file://{store}')
        remote_target.send(str(self.folder), f'file://{store}')
    self.assertEqual((store / 'records/a').read_text(), 'two')
    self.assertLen(json.loads((store / 'sent.json').read_text())['files'], 2)

  def test_only_what_was_sent_is_removed_or_known(self):
    self.send()
    self.store.pipe_file('/bucket/mine/theirs', b'x')
    self.store.rm_file('/bucket/mine/records/a')
    self.store.pipe_file('/bucket/other', b'y')
    index = self.sent()[1]
    index['files'] |= {'../other': 'sha', 'gone': 'sha'}
    path = f'/bucket/mine/{remote_target.INDEX}'
    self.store.pipe_file(path, json.dumps(index).encode())
    self.assertEqual(self.send(), '1')
    found, index = self.sent()
    self.assertEqual(found, {
        'manifest.jsonl': b'one', 'records/a': b'two', 'theirs': b'x'})
    self.assertEqual(self.store.cat_file('/bucket/other'), b'y')
    self.store.pipe_file(path, b'{}')  # As after a stop.
    self.assertEqual(self.send(), '2')
    self.assertIn('theirs', self.sent()[0])

  def test_a_set_is_not_whole_until_all_is_copied(self):
    self.send()
    self.put('manifest.jsonl', 'new')
    put = type(self.store).put_file
    with mock.patch.object(
        type(self.store), 'put_file', side_effect=OSError('cable\nout')):
      with self.assertRaisesRegex(
          command_line.Refused,
          '^--send_to=memory://bucket/mine cannot be used: cable out$'):
        self.send()
    self.assertEqual(self.sent()[1], {})
    self.assertIs(type(self.store).put_file, put)
    self.assertEqual(self.send(), '2')
    found, index = self.sent()
    self.assertEqual(found, {'manifest.jsonl': b'new', 'records/a': b'two'})
    self.assertLen(index['files'], 2)

  @parameterized.parameters(
      ('data/mine', 'folder', 'is for a store such as s3://'),
      (None, _URL, 'give that, not --check'),
      ('data/mine', 'unheard-of://x', 'cannot be used: Protocol not known'),
      ('data/mine', 'memory://others', "holds other files, such as 'theirs'"))
  def test_refuses_before_a_set_is_prepared(self, output, send_to, words):
    self.store.pipe_file('/others/theirs', b'x')
    with self.assertRaisesRegex(command_line.Refused, words):
      remote_target.check(output, send_to)
    self.assertEqual(self.store.cat_file('/others/theirs'), b'x')

  def test_without_the_flag_nothing_is_asked(self):
    remote_target.check(None, None)


if __name__ == '__main__':
  absltest.main()
