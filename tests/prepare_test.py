"""Tests for data_prep.prepare: the real binary on good and bad input."""

import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
# This module defines flags. If TFDS imported it later, inside `flagsaver`, the
# flags would be removed again.
from array_record.python import array_record_data_source  # noqa: F401
import numpy as np
import tensorflow_datasets as tfds

from data_prep import manifest
from tests import forked
from tests import listed
from tests import prepare_binary

_HEADER = listed.HEADER
# The most common mistakes in manifests; manifest_test tests the whole list.
_BAD = [case for case in listed.BAD if case[0] in (
    'missing_image', 'mask_of_another_size', 'label_value_outside',
    'unknown_kind', 'duplicate_id', 'subject_in_two_splits', 'no_strong',
    'no_weak', 'empty', 'not_json', 'box_outside')]


class PrepareTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (self.folder / 'in').mkdir()
    (self.folder / 'out').mkdir()
    self.output = self.folder / 'out/set'

  def manifest(self, lines):
    if not (self.folder / 'in/images').exists():
      listed.write_files(self.folder / 'in')
    return str(listed.write_lines(self.folder / 'in', lines))

  def assert_refused(self, words, *argv):
    """Asserts that prepare refuses the arguments and writes no file.

    It must print one line on stderr, which contains `words`, and exit with 2.
    """
    before = sorted(map(str, self.folder.rglob('*')))
    code, _, lines = prepare_binary.run(*argv)
    self.assertEqual(code, 2)
    self.assertLen(lines, 1, lines)
    self.assertIn(words, lines[0])
    self.assertLessEqual(len(lines[0]), 200)
    self.assertEqual(sorted(map(str, self.folder.rglob('*'))), before)

  @parameterized.named_parameters(*_BAD)
  def test_bad_manifest(self, lines, words):
    path = self.manifest([_HEADER, *lines])
    self.assert_refused(
        words, f'--manifest={path}', f'--output={self.output}')
    if words == 'manifest: no weak training instance':
      # --check only notes it, since training on exact masks alone is possible.
      code, out, refused = prepare_binary.run(f'--manifest={path}', '--check')
      self.assertEqual((code, refused), (0, []))
      self.assertIn('notice: manifest: no weak training instance', out)
      return
    self.assert_refused(words, f'--manifest={path}', '--check')

  def test_every_problem_has_its_line(self):
    rows = listed.rows(image='no.png')
    path = self.manifest([_HEADER, *rows, rows[0], '{'])
    code, _, lines = prepare_binary.run(
        f'--manifest={path}', f'--output={self.output}')
    self.assertEqual(code, 2)
    self.assertEqual([x.split(':')[0] for x in lines], [
        'line 5, id d, image', 'line 6, id a, id', 'line 7'])

  @parameterized.parameters(
      (['--datset=phantom'], 'datset'),
      (['--datset=phantom'], 'Did you mean: dataset'),
      (['--dataset=phantm'], 'phantom'),
      (['--dataset=phantom', '--image_size=0'], 'image_size'),
      (['--dataset=phantom', '--image_size=big'], 'image_size'),
      (['--dataset=phantom', '--strong_fraction=1.5'], 'strong_fraction'),
      (['--dataset=phantom', '--fault_fraction=-1'], 'fault_fraction'),
      (['--dataset=phantom', '--seed=-1'], 'seed'),
      (['--dataset=phantom', 'stray'], "unexpected argument 'stray'"),
      ([], 'give either --source, --dataset, --manifest or --decisions'),
      (['--dataset=phantom', '--manifest=x'], 'give either'),
      (['--dataset=endoscene'], 'needs --source, the folder with frames.csv'),
      (['--dataset=acdc', '--source=/nowhere'], 'no such folder'),
      (['--dataset=acdc', '--source=/'], 'holds no slices.csv'),
      (['--dataset=phantom', '--source=/'], '--source is not for'),
      (['--dataset=phantom', '--weak_kinds=box'],
       '--weak_kinds is not for --dataset=phantom: remove it'),
      (['--dataset=phantom', '--simulate=box'], '--simulate is not for'),
      (['--source=/', '--weak_kinds=box'], '--source, which has --simulate'),
      (['--manifest=/nowhere.jsonl'], '--manifest=/nowhere.jsonl: no such'),
      (['--dataset=phantom', '--beam_options=x'], 'is for --runner=beam'),
      (['--dataset=phantom3d', '--runner=beam'], 'is not for whole volumes'),
  )
  def test_bad_flags(self, argv, words):
    self.assert_refused(words, *argv, f'--output={self.output}')

  def test_beam_is_not_installed(self):
    with mock.patch('importlib.util.find_spec', return_value=None):
      self.assert_refused(
          "pip install 'hybridseg[beam]'", '--dataset=phantom',
          '--runner=beam', f'--output={self.output}')

  def test_no_output(self):
    self.assert_refused('give --output', '--dataset=phantom')

  @parameterized.parameters('file', 'folder')
  def test_never_replaces_what_it_did_not_write(self, kind):
    if kind == 'file':
      self.output.write_text('mine')
    else:
      self.output.mkdir()
      (self.output / 'manifest.jsonl').write_text('mine')
    path = self.manifest([_HEADER, *listed.rows()])
    self.assert_refused(
        '--output=', f'--manifest={path}', f'--output={self.output}',
        '--overwrite')

  def test_own_set(self):
    rows = [*listed.rows(), listed.row('v', split='val')]
    path = self.manifest([_HEADER, '', *rows])
    args = (f'--manifest={path}', f'--output={self.output}', '--image_size=16')
    code, out, lines = prepare_binary.run(*args)
    self.assertEqual((code, lines), (0, []))
    self.assertIn('images: train strong 2, train weak 2, val strong 1', out)
    self.assertIn(f'records: {self.output}/records (16 x 16)', out)
    self.assertIn('next: python -m experiments.train', out)
    self.assertEqual(os.listdir(self.folder / 'out'), ['set'])
    self.assertCountEqual(
        os.listdir(self.output),
        ['manifest.jsonl', 'preparation.json', 'records', 'summary.html'])
    # The manifest's paths are valid relative to its new folder.
    read = manifest.read_manifest(self.output / 'manifest.jsonl')
    self.assertTrue((read.root / 'images/i.png').is_file())
    source = tfds.builder_from_directory(
        self.output / 'records').as_data_source(split='train_weak')
    self.assertEqual([e['id'] for e in source], [b'c', b'd'])
    self.assertEqual(source[0]['image'].shape, (16, 16, 3))

    # With the same options there is nothing to do. Otherwise, the set is
    # refused unless --overwrite is given.
    stamp = os.stat(self.output / 'records').st_mtime_ns
    code, out, lines = prepare_binary.run(*args)
    self.assertEqual((code, lines), (0, []))
    self.assertIn('up to date', out)
    self.assertEqual(os.stat(self.output / 'records').st_mtime_ns, stamp)
    self.assert_refused('give --overwrite', *args[:2], '--image_size=24')
    code, out, lines = prepare_binary.run(
        *args[:2], '--image_size=24', '--overwrite')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('(24 x 24)', out)
    self.assertEqual(os.listdir(self.folder / 'out'), ['set'])
    self.assertEqual(os.stat(self.output).st_mode & 0o777, 0o755)

  def test_a_corrected_mask_is_not_up_to_date(self):
    path = self.manifest([_HEADER, *listed.rows()])
    args = (f'--manifest={path}', f'--output={self.output}', '--image_size=8')
    self.assertEqual(prepare_binary.run(*args)[0], 0)
    masks = self.folder / 'in/masks'
    os.replace(masks / 'empty.png', masks / 'm.png')
    self.assert_refused('give --overwrite', *args)
    self.assertEqual(prepare_binary.run(*args, '--overwrite')[0], 0)
    source = tfds.builder_from_directory(
        self.output / 'records').as_data_source(split='train_strong')
    self.assertEqual(source[0]['label'].max(), 0)

  @parameterized.parameters(
      ('endoscene', 'frames.csv', 'id,split\ncvc-300_1,train\n',
       'not the files of endoscene'),
      ('endoscene', 'frames.csv', 'id,split,sequence,copy_of\nx,train,,\n',
       'not the files of endoscene'),
      ('endoscene', 'frames.csv',
       'id,split,sequence,copy_of\ncvc-300_1,train,,\ncvc-300_2,train,,\n',
       'No such file'),
      ('acdc', 'slices.csv', 'a,b\n1,2\n', 'not the files of acdc'),
      ('acdc', 'slices.csv', '', 'the manifest holds no image'))
  def test_foreign_listing(self, dataset, name, content, words):
    source = self.folder / 'in'
    (source / name).write_text(content)
    self.assert_refused(
        words, f'--dataset={dataset}', f'--source={source}',
        f'--output={self.output}')

  @parameterized.parameters((0, 'no strong'), (1, 'no weak'))
  def test_share_without_a_role(self, share, words):
    self.assert_refused(
        words, '--dataset=phantom', f'--output={self.output}',
        '--image_size=16', f'--strong_fraction={share}')

  def test_check_alone_writes_nothing(self):
    path = self.manifest([_HEADER, *listed.rows()])
    before = sorted(map(str, self.folder.rglob('*')))
    code, out, lines = prepare_binary.run(f'--manifest={path}', '--check')
    self.assertEqual((code, lines), (0, []))
    self.assertIn('The set has no problems.', out)
    self.assertEqual(sorted(map(str, self.folder.rglob('*'))), before)

  def test_damaged_records_are_replaced_only_on_request(self):
    path = self.manifest([_HEADER, *listed.rows()])
    args = (f'--manifest={path}', f'--output={self.output}', '--image_size=8')
    self.assertEqual(prepare_binary.run(*args)[0], 0)
    (self.output / 'records/dataset_info.json').write_text('{')
    self.assert_refused('give --overwrite', *args)
    self.assertEqual(prepare_binary.run(*args, '--overwrite')[0], 0)
    tfds.builder_from_directory(self.output / 'records')

  def test_phantom_keeps_its_pictures(self):
    code, out, _ = prepare_binary.run(
        '--dataset=phantom', f'--output={self.output}', '--image_size=16')
    self.assertEqual(code, 0)
    self.assertCountEqual(
        os.listdir(self.output),
        ['images', 'masks', 'manifest.jsonl', 'preparation.json', 'records',
         'summary.html'])
    self.assertIn('train_strong: 12 records', out)
    self.assertIn('planted faults: missing 8', out)
    reader = tfds.builder_from_directory(self.output / 'records')
    for example in reader.as_data_source(split='train_weak'):
      self.assertFalse(np.any(example['truth'] == 255))

  def test_as_a_process(self):
    path = self.manifest([_HEADER, *listed.rows(id='a')])
    for argv, words in (
        (['--ouput=x'], 'Did you mean: output'),
        ([f'--manifest={path}', f'--output={self.output}'], 'duplicate id')):
      done = forked.run('data_prep.prepare', *argv)
      self.assertEqual(done.returncode, 2, done.stderr)
      self.assertLen(done.stderr.splitlines(), 1, done.stderr)
      self.assertIn(words, done.stderr)
      self.assertEqual(os.listdir(self.folder / 'out'), [])


if __name__ == '__main__':
  absltest.main()
