"""Tests for data_prep.shared.review_journal."""

import hashlib
import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from data_prep.shared import pixels
from data_prep.shared import review_journal

_HEADER = review_journal.Header('runs/a', 'data/a', 'ab' * 32)
_TIME = '2026-11-28T22:30:01Z'


def _decision(row_id, decision='keep', **more):
  return review_journal.Decision(row_id, decision, 'anna', _TIME, **more)


def _mask(row_id, **more):
  return _decision(row_id, 'mask', mask='masks/a.png', sha256='cd' * 32,
                   exact=False, source='drawn', **more)


class JournalTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self._path = pathlib.Path(folder.name, 'review.jsonl')

  def _open(self, header=_HEADER):
    writer = review_journal.Writer(self._path, header)
    self.addCleanup(writer.close)
    return writer

  def _lines(self):
    return [json.loads(x) for x in self._path.read_text().splitlines()]

  def test_lines_are_those_of_the_contract(self):
    writer = self._open()
    self.assertEqual(self._lines(), [{
        'review': 1, 'run': 'runs/a', 'data_dir': 'data/a',
        'manifest_sha256': 'ab' * 32}])
    self.assertTrue(writer.append(_decision('\u00fc\n"', key='1', keys=1)))
    self.assertTrue(writer.append(_mask('b', seconds=2.5)))
    self.assertEqual(self._lines()[1:], [
        {'id': '\u00fc\n"', 'decision': 'keep', 'who': 'anna', 'time': _TIME,
         'key': '1', 'keys': 1},
        {'id': 'b', 'decision': 'mask', 'who': 'anna', 'time': _TIME,
         'mask': 'masks/a.png', 'sha256': 'cd' * 32, 'exact': False,
         'source': 'drawn', 'seconds': 2.5}])
    self.assertEqual(review_journal.read(self._path), review_journal.Journal(
        _HEADER, {'\u00fc\n"': _decision('\u00fc\n"', key='1', keys=1),
                  'b': _mask('b', seconds=2.5)}))

  def test_each_line_is_synced_before_append_returns(self):
    writer = self._open()
    sizes = []
    with mock.patch.object(
        review_journal.os, 'fsync',
        side_effect=lambda f: sizes.append(os.fstat(f).st_size)):
      writer.append(_decision('a'))
    self.assertEqual(sizes, [self._path.stat().st_size])

  def test_the_last_decision_holds_and_undo_goes_back(self):
    writer = self._open()
    for line in (_decision('a'), _mask('b'), _decision('a', 'drop')):
      self.assertTrue(writer.append(line))
    both = lambda: (writer.decisions, review_journal.read(self._path).decisions)
    for found in both():
      self.assertEqual([*found], ['b', 'a'])
      self.assertEqual(found['a'].decision, 'drop')
    self.assertTrue(writer.append(_decision('a', 'undo')))
    for found in both():
      self.assertEqual(found['a'].decision, 'keep')
    self.assertTrue(writer.append(_decision('a', 'undo')))
    for found in both():
      self.assertEqual([*found], ['b'])
    self.assertFalse(writer.append(_decision('a', 'undo')))
    self.assertLen(self._lines(), 6)

  def test_a_repeated_key_is_ignored(self):
    writer = self._open()
    self.assertTrue(writer.append(_decision('a', key='k')))
    self.assertFalse(writer.append(_decision('a', 'drop', key='k')))
    self.assertTrue(writer.append(_decision('b')))
    self.assertTrue(writer.append(_decision('b')))  # Without keys.
    # Another program may have written the line twice.
    lines = self._path.read_bytes().splitlines(keepends=True)
    undo = json.dumps({'id': 'a', 'decision': 'undo', 'who': '', 'time': _TIME,
                       'key': 'u'}).encode() + b'\n'
    self._path.write_bytes(b''.join([*lines, lines[1], undo, undo]))
    self.assertEqual([*review_journal.read(self._path).decisions], ['b'])
    again = self._open()
    self.assertTrue(again.has('k'))
    self.assertFalse(again.has(''))
    self.assertEqual([*again.decisions], ['b'])

  def test_a_torn_last_line_is_ignored_then_cut_off(self):
    writer = self._open()
    writer.append(_decision('a'))
    whole = self._path.read_bytes()
    writer.append(_decision('b'))
    line = self._path.read_bytes()[len(whole):]
    for size in range(1, len(line)):
      self._path.write_bytes(whole + line[:size])
      journal = review_journal.read(self._path)
      self.assertEqual([*journal.decisions], ['a'])
      self.assertIn(f'the torn last line, {size} bytes', journal.notices[0])
      again = review_journal.Writer(self._path, _HEADER)
      self.assertEqual(self._path.read_bytes(), whole)
      self.assertEqual(again.notices, journal.notices)
      again.append(_decision('b'))
      again.close()
      self.assertEqual(self._path.read_bytes(), whole + line)

  def test_a_torn_header_is_written_again(self):
    self._path.write_bytes(b'{"review": 1, "ru')
    with self.assertRaisesRegex(pixels.WrongFile, 'no header'):
      review_journal.read(self._path)
    self._open().append(_decision('a'))
    self.assertEqual([*review_journal.read(self._path).decisions], ['a'])

  def test_a_failed_write_leaves_the_journal_as_it_was(self):
    writer = self._open()
    before = self._path.read_bytes()
    pwrite = os.pwrite
    half = lambda f, line, at: pwrite(f, line[: len(line) // 2], at)
    with mock.patch.object(review_journal.os, 'pwrite', side_effect=half):
      with self.assertRaisesRegex(OSError, 'No space left'):
        writer.append(_decision('a', key='k'))
    self.assertEqual(self._path.read_bytes(), before)
    self.assertEqual(writer.decisions, {})
    self.assertTrue(writer.append(_decision('a', key='k')))
    self.assertEqual([*review_journal.read(self._path).decisions], ['a'])

  def test_a_journal_of_another_set_or_a_link_is_refused(self):
    self._open()
    with self.assertRaisesRegex(pixels.WrongFile, 'belongs to another set'):
      self._open(_HEADER._replace(manifest_sha256='ef' * 32))
    self._open(_HEADER._replace(run='a copy of the run'))
    link = self._path.with_name('link')
    link.symlink_to(self._path)
    with self.assertRaises(OSError):
      review_journal.Writer(link, _HEADER)

  @parameterized.parameters(
      ('x', 'line 2: not JSON'),
      ('\udcff', 'not UTF-8'),
      ('[]', 'not a JSON object'),
      ({}, "no field 'id'"),
      ({'id': ''}, 'id of a decision: expected a text that is not empty'),
      ({'decision': 'keeps'}, 'expected one of keep, drop, mask, undo'),
      ({'time': 'now'}, 'expected a time such as'),
      ({'color': 1}, "unknown field 'color'"),
      ({'mask': 'masks/a.png'}, "unknown field 'mask'"),
      ({'decision': 'mask'}, "no field 'mask'"),
      ({'seconds': True}, 'seconds of a decision: expected a number'),
      ({'keys': 1.5}, 'keys of a decision: expected a whole number'),
      ({'keys': -1}, 'keys of a decision: expected a whole number'),
  )
  def test_damaged_lines(self, change, message):
    self._open()
    line = change
    if isinstance(change, dict):
      line = json.dumps(change and {
          'id': 'a', 'decision': 'keep', 'who': '', 'time': _TIME} | change)
    with open(self._path, 'a', errors='surrogateescape') as file:
      file.write(line + '\n')
    with self.assertRaises(pixels.WrongFile) as caught:
      review_journal.read(self._path)
    self.assertRegex(str(caught.exception).replace(
        'a line of the review is not JSON', 'line 2: not JSON'), message)
    self.assertIn('line 2', str(caught.exception))

  @parameterized.parameters(
      '../a.png', '/a.png', 'masks/../../a.png', 'masks//a.png', '')
  def test_paths_of_masks_stay_below_the_folder(self, name):
    writer = self._open()
    with self.assertRaises(pixels.WrongFile):
      writer.append(_mask('a')._replace(mask=name))
    self.assertLen(self._lines(), 1)

  @parameterized.parameters(
      ('{}\n', 'no header'), ('[]\n', 'no header'), ('\n', 'no header'),
      ('', 'no header'), ('{"review": 2}\n', 'a review of version 2'),
      ('{"review": true}\n', 'of version true'),
      ('{"review": 1, "run": "a"}\n', 'must have the texts run, data_dir'))
  def test_wrong_headers(self, content, message):
    self._path.write_text(content)
    with self.assertRaisesRegex(pixels.WrongFile, message):
      review_journal.read(self._path)

  def test_masks_are_checked(self):
    folder = self._path.parent / 'masks'
    folder.mkdir()
    (folder / 'a.png').write_bytes(b'mask')
    decision = _mask('a')._replace(
        sha256=hashlib.sha256(b'mask').hexdigest())
    self.assertEqual(
        review_journal.mask_file(self._path, decision), folder / 'a.png')
    for change, message in (
        ({'sha256': 'cd' * 32}, 'has changed'),
        ({'mask': 'masks/b.png'}, 'No such file'),
        ({'mask': '../a.png'}, 'lead out')):
      with self.assertRaisesRegex(pixels.WrongFile, message):
        review_journal.mask_file(self._path, decision._replace(**change))

  def test_digest_of_the_manifest(self):
    self._path.with_name('manifest.jsonl').write_bytes(b'a\n')
    self.assertEqual(
        review_journal.manifest_sha256(self._path.parent),
        hashlib.sha256(b'a\n').hexdigest())


if __name__ == '__main__':
  absltest.main()
