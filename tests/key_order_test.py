"""Tests that the order of the keys in a manifest does not matter."""

import json
import pathlib
import types

from absl.testing import absltest
import numpy as np
from PIL import Image

from data_prep import manifest as manifest_lib
from data_prep.records import fingerprints
from data_prep.records import shards
from experiments import binary
from experiments.building import input_pipeline
from experiments.evaluation import finished_run
from tests import prepare_binary
from tests import tiny

_HEADER = {'manifest_version': 1, 'name': 'keys', 'classes': ['bg', 'polyp']}
# The order is that of docs/own_data.md, which is not alphabetical.
_BOX = {'kind': 'box', 'boxes': [[10, 10, 30, 25]], 'labels': [1]}
_VALUES = {'255': 1, '0': 0}


def _write(source):
  """Writes 24 pictures, masks for every fourth of them, and the rows."""
  rows = []
  for i in range(24):
    rng = np.random.default_rng(i)
    Image.fromarray(rng.integers(0, 256, (40, 60), np.uint8)).save(
        source / f'{i}.png')
    row = {'image': f'{i}.png', 'subject': f's{i}', 'id': str(i),
           'split': 'train', 'role': 'weak', 'annotation': _BOX}
    if i % 4 == 3:
      mask = np.zeros((40, 60), np.uint8)
      mask[10:25, 10:30] = 255
      Image.fromarray(mask).save(source / f'm{i}.png')
      row['annotation'] = {
          'kind': 'mask', 'path': f'm{i}.png', 'values': _VALUES}
      row['role'] = 'strong'
      row['split'] = {19: 'val', 23: 'test'}.get(i, 'train')
    rows.append(row)
  for name, order in ('given', list), ('sorted', sorted):
    with open(source / f'{name}.jsonl', 'w', encoding='utf-8') as file:
      for row in [_HEADER, *rows]:
        file.write(json.dumps(_reordered(row, order)) + '\n')


def _reordered(value, order):
  if not isinstance(value, dict):
    return value
  return {key: _reordered(value[key], order) for key in order(value)}


class KeyOrderTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))
    _write(self.folder)

  def read(self, name):
    return manifest_lib.read_manifest(self.folder / f'{name}.jsonl')

  def prepare(self, name, *argv):
    code, out, err = prepare_binary.run(
        f'--manifest={self.folder / name}.jsonl', '--image_size=16',
        f'--output={self.folder / "set"}', *argv)
    self.assertEqual(code, 0, err)
    return out

  def open_split(self):
    config = tiny.debug_config()
    config.input.data_dir = str(self.folder / 'set')
    dataset = input_pipeline.load_dataset(config.input.data_dir)
    predictor = types.SimpleNamespace(
        data_dir=config.input.data_dir, dataset=dataset)
    return finished_run.open_split(predictor, 'test')

  def test_same_fingerprint_and_same_shards(self):
    given, ordered = self.read('given'), self.read('sorted')
    self.assertNotEqual(repr(given.rows), repr(ordered.rows))
    self.assertEqual(
        *(fingerprints.of_manifest(m) for m in (given, ordered)))
    digests = [[t.digest for t in shards.shard_tasks(m, image_size=16)]
               for m in (given, ordered)]
    self.assertEqual(*digests)

  def test_sorted_keys_have_the_fingerprint_they_always_had(self):
    ordered, given = self.read('sorted'), self.read('given')
    self.assertEqual(fingerprints.of_manifest(ordered),
                     fingerprints.of_manifest(ordered, as_written=True))
    self.assertNotEqual(fingerprints.of_manifest(given),
                        fingerprints.of_manifest(given, as_written=True))

  def test_what_a_value_is_is_content(self):
    given = self.read('given')
    annotation = given.rows[3].annotation | {'values': {'255': 0, '0': 1}}
    rows = list(given.rows)
    rows[3] = rows[3]._replace(annotation=annotation)
    self.assertNotEqual(
        fingerprints.of_manifest(given._replace(rows=tuple(rows))),
        fingerprints.of_manifest(given))

  def test_evaluation_takes_the_set_just_prepared(self):
    self.prepare('given')
    self.assertIn('is up to date', self.prepare('sorted'))
    self.assertEqual(self.open_split().resolution, 'original')

  def test_records_and_runs_of_the_old_fingerprint(self):
    given = self.read('given')
    header = given.header._replace(root=str(self.folder.resolve()))
    old = fingerprints.of_manifest(
        given._replace(header=header), as_written=True)
    self.prepare('given')
    written = self.folder / 'set/manifest.jsonl'
    new = fingerprints.of_manifest(manifest_lib.read_manifest(written))
    path = self.folder / 'set/records/metadata.json'
    text = path.read_text()
    self.assertIn(new, text)
    path.write_text(text.replace(new, old))
    self.assertIn('is up to date', self.prepare('given'))
    self.assertEqual(self.open_split().resolution, 'original')
    # If the test split differs, the set differs, whatever its records claim.
    lines = written.read_text()
    for a, b in ('test', 'x'), ('val', 'test'), ('x', 'val'):
      lines = lines.replace(f'"split": "{a}"', f'"split": "{b}"')
    written.write_text(lines)
    with self.assertRaisesRegex(binary.UserError, 'another set'):
      self.open_split()


if __name__ == '__main__':
  absltest.main()
