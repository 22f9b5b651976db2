"""Tests for data_prep.records.builder: tiny sets, written and read back."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from data_prep.checks import check
from data_prep.records import builder
from data_prep.records import fingerprints
from data_prep.records import schema
from data_prep.records import shards
from tests import seven_rows

_FEATURES = (
    'annotator', 'fault', 'id', 'image', 'instance_id', 'kind', 'label',
    'present', 'quality', 'site', 'spacing_mm', 'subject', 'truth')


class BuilderTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = pathlib.Path(
        cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.manifest = seven_rows.write(cls.folder)
    cls.records = builder.build(
        cls.manifest, output=cls.folder / 'records', image_size=4)
    cls.reader = tfds.builder_from_directory(cls.records)

  def examples(self, split):
    return list(self.reader.as_data_source(split=split))

  def test_set_is_valid(self):
    self.assertEqual(check.check_manifest(self.manifest), [])

  def test_another_writer_of_shards(self):
    asked = []

    def write(tasks, staging):
      asked.extend(task.digest for task in tasks)
      for task in tasks:
        shards.write_shard(task, folder=str(staging))

    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    records = builder.build(
        self.manifest, output=folder / 'records', image_size=4, write=write)
    self.assertCountEqual(asked, json.loads(
        (records / 'shards.json').read_text(encoding='utf-8')))
    for path in self.records.iterdir():
      self.assertEqual((records / path.name).read_bytes(), path.read_bytes())

  def test_splits_keep_the_order_of_the_manifest(self):
    ids = {s: [e['id'].decode() for e in self.examples(s)]
           for s in self.reader.info.splits}
    # There is no val here, since TFDS has no empty splits.
    self.assertEqual(ids, {
        'train_strong': ['s0', 's1'], 'train_weak': ['w0', 'u0', 'w1', 'g0'],
        'test': ['t0']})

  def test_instance_ids_are_rows_of_the_indicator_table(self):
    ids = {s: [e['instance_id'] for e in self.examples(s)]
           for s in self.reader.info.splits}
    self.assertEqual(ids, {
        'train_strong': [-1, -1], 'train_weak': [0, 1, 2, 3], 'test': [-1]})

  def test_features(self):
    example = self.examples('train_weak')[0]
    self.assertEqual(tuple(sorted(example)), _FEATURES)
    # The mean of the 2 x 2 pixels 0, 1, 8 and 9 is 4.5.
    np.testing.assert_allclose(example['image'][0, 0], [4.5, 54.5, 104.5],
                               atol=0.5)
    self.assertEqual(example['image'].shape, (4, 4, 3))
    np.testing.assert_array_equal(example['label'], [[1, 1, 0, 0]] * 4)
    np.testing.assert_array_equal(
        example['truth'], [[1, 1, 0, 0]] * 2 + [[0] * 4] * 2)
    for name in ('image', 'label', 'truth'):
      self.assertEqual(example[name].dtype, np.uint8)
    texts = ('subject', 'site', 'annotator', 'fault')
    self.assertEqual(
        [example[k].decode() for k in texts], ['p1', 'x', 'ä', 'shifted'])
    self.assertEqual((example['kind'], example['quality']), (3, 0.5))
    np.testing.assert_array_equal(example['spacing_mm'], [1.5, 0.5])

  def test_bytes_are_those_of_tfds(self):
    features = schema.record_features(image_size=4, num_classes=2, channels=3)
    parse = tf_example_pb2.Example.FromString
    for row in self.manifest.rows:
      example = schema.make_example(
          row, root=self.folder, image_size=4, num_classes=2, channels=3,
          instance_id=2)
      found, wanted = (schema.to_bytes(example),
                       features.serialize_example(example))
      self.assertEqual(str(parse(found)), str(parse(wanted)))
      self.assertLen(found, len(wanted))
      names = [k.encode() for k in sorted(example)]
      places = [found.index(b'\n%c%s\x12' % (len(k), k)) for k in names]
      self.assertEqual(places, sorted(places))

  def test_unknown_is_marked(self):
    example = self.examples('train_weak')[2]
    np.testing.assert_array_equal(
        example['label'], [[1, 1, 255, 255]] * 2 + [[255] * 4] * 2)
    np.testing.assert_array_equal(example['truth'], np.full((4, 4), 255))
    self.assertTrue(np.isnan(example['quality']))
    self.assertTrue(np.isnan(example['spacing_mm']).all())
    self.assertEqual(example['fault'], b'')
    # The image is a subject of its own.
    self.assertEqual(example['subject'], b'w1')

  def test_unlabelled_and_tagged_images_are_weak_ones_without_pixels(self):
    _, unlabelled, scribble, tagged = self.examples('train_weak')
    kinds = [types.AnnotationKind(e['kind']).name for e in (unlabelled, tagged)]
    self.assertEqual(kinds, ['NONE', 'TAG'])
    for example in unlabelled, tagged:
      np.testing.assert_array_equal(example['label'], np.full((4, 4), 255))
    np.testing.assert_array_equal(tagged['present'], [255, 1])
    for example in unlabelled, scribble:
      np.testing.assert_array_equal(example['present'], [255, 255])

  def test_strong_truth_is_the_label(self):
    example = self.examples('train_strong')[0]
    np.testing.assert_array_equal(example['truth'], example['label'])
    self.assertEqual((example['label'] == 1).sum(), 4)

  def test_every_feature_is_documented(self):
    for name, feature in self.reader.info.features.items():
      self.assertNotEmpty(feature.doc.desc, name)

  def test_metadata(self):
    self.assertEqual(dict(self.reader.info.metadata), {
        'name': 'tiny', 'classes': ['bg', 'a'], 'image_size': 4,
        'counts': {'train_strong': 2, 'train_weak': 4, 'val': 0, 'test': 1},
        'records_version': schema.VERSION,
        'manifest_sha256': fingerprints.of_manifest(self.manifest),
        'files_sha256': fingerprints.of_files(
            self.manifest.rows, self.manifest.root)})

  def test_fingerprint_is_of_the_content(self):
    same = self.manifest._replace(
        rows=tuple(r._replace(line=9) for r in self.manifest.rows))
    of_manifest = fingerprints.of_manifest
    self.assertEqual(of_manifest(same), of_manifest(self.manifest))
    other = self.manifest._replace(rows=self.manifest.rows[1:])
    self.assertNotEqual(of_manifest(other), of_manifest(self.manifest))

  def test_nothing_else_is_left_behind(self):
    self.assertCountEqual(
        os.listdir(self.folder),
        ['image.png', 'mask.png', 'other.png', 'manifest.jsonl', 'records'])

  def test_gray_images_keep_one_channel(self):
    with tempfile.TemporaryDirectory() as folder:
      records = builder.build(
          seven_rows.write(folder, gray=True),
          output=pathlib.Path(folder) / 'r', image_size=8)
      reader = tfds.builder_from_directory(records)
      image = reader.as_data_source(split='test')[0]['image']
    np.testing.assert_array_equal(
        image[..., 0], 255 - np.arange(64).reshape(8, 8))

  def test_failure_leaves_nothing(self):
    with tempfile.TemporaryDirectory() as folder:
      written = seven_rows.write(folder)
      before = sorted(os.listdir(folder))
      broken = written._replace(rows=(
          *written.rows, written.rows[-1]._replace(annotation={
              'kind': 'mask', 'path': 'gone.png'})))
      with self.assertRaises(FileNotFoundError):
        builder.build(
            broken, output=pathlib.Path(folder) / 'r', image_size=4)
      self.assertEqual(sorted(os.listdir(folder)), before)

  def test_existing_output_is_kept(self):
    with self.assertRaisesRegex(FileExistsError, 'records exists'):
      builder.build(self.manifest, output=self.records, image_size=4)

  def test_interrupted_build_goes_on_and_old_shards_are_taken_over(self):
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      written = seven_rows.write(folder)
      made = []
      make_example = schema.make_example

      def make(row, **kwargs):
        if row.id == 't0' and not made.count('t0'):
          made.append('t0')
          raise KeyboardInterrupt
        made.append(row.id)
        return make_example(row, **kwargs)

      with mock.patch.object(shards, '_SHARD_ROWS', 1), mock.patch.object(
          schema, 'make_example', make), mock.patch.object(
              os, 'cpu_count', return_value=1):
        with self.assertRaises(KeyboardInterrupt):
          builder.build(written, output=folder / 'a', image_size=4)
        self.assertFalse((folder / 'a').exists())
        builder.build(written, output=folder / 'a', image_size=4)
        self.assertCountEqual(
            made, ['s0', 's1', 'w0', 'u0', 'w1', 'g0', 't0', 't0'])
        made.clear()
        changed = written._replace(rows=tuple(
            r._replace(site='y') if r.id == 'w1' else r for r in written.rows))
        builder.build(
            changed, output=folder / 'b', image_size=4, previous=folder / 'a')
      self.assertEqual(made, ['w1'])
      for name, sites in ('a', b''), ('b', b'y'):
        reader = tfds.builder_from_directory(folder / name)
        self.assertEqual(
            reader.info.splits['train_weak'].shard_lengths, [1] * 4)
        source = reader.as_data_source(split='train_weak')
        self.assertEqual(
            [e['id'] for e in source], [b'w0', b'u0', b'w1', b'g0'])
        self.assertEqual(source[2]['site'], sites)

  def test_one_process_at_a_time(self):
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      written = seven_rows.write(folder)
      (folder / '.a.shards').mkdir()
      with builder._locked(folder / '.a.shards'):
        with self.assertRaisesRegex(BlockingIOError, 'another process'):
          builder.build(written, output=folder / 'a', image_size=4)
        self.assertTrue((folder / '.a.shards').exists())

  def test_reading_needs_no_tensorflow_and_no_builder_class(self):
    code = (
        'import sys, tensorflow_datasets as tfds\n'
        f'b = tfds.builder_from_directory({str(self.records)!r})\n'
        's = b.as_data_source(split="train_weak[2:]")\n'
        'assert [e["id"] for e in s] == [b"w1", b"g0"]\n'
        'bad = {"tensorflow", "data_prep"} & set(sys.modules)\n'
        'assert not bad, bad\n')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        check=False)
    self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == '__main__':
  absltest.main()
