"""Tests for data_prep.drawing.kept: files are decoded and hashed once."""

import collections
import hashlib
import os
import pathlib
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import ImageFile

from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.drawing import kept as kept_lib
from data_prep.records import builder
from data_prep.records import fingerprints
from data_prep.records import schema
from tests import prepare_binary
from tests import seven_rows


def _size_of(value, known):
  """Returns the bytes of an object and of all objects in it, each once."""
  if id(value) in known or isinstance(value, (int, str, manifest_lib.Row)):
    return 0  # Do not count rows and strings, which the manifest holds anyway.
  known.add(id(value))
  size = sys.getsizeof(value)
  if isinstance(value, dict):
    size += sum(_size_of(v, known) for v in value.values())
  elif isinstance(value, (tuple, list)):
    size += sum(_size_of(v, known) for v in value)
  return size


class KeptTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def _check(self, image_size, **options):
    manifest = seven_rows.write(self.folder, **options)
    kept = kept_lib.Kept(self.folder, image_size)
    findings = check.inspect_manifest(manifest, kept=kept)
    self.assertEqual(findings.problems, [])
    return manifest, kept, findings

  @parameterized.product(image_size=(4, 8, 11), gray=(False, True))
  def test_records_are_those_of_the_files(self, image_size, gray):
    manifest, kept, _ = self._check(image_size, gray=gray)
    for row in manifest.rows:
      read, found = (schema.make_example(
          row, root=manifest.root, image_size=image_size, num_classes=2,
          channels=3, instance_id=0, kept=k) for k in (None, kept))
      self.assertEqual(schema.to_bytes(read), schema.to_bytes(found))

  def test_values_of_a_mask_are_told_apart(self):
    manifest, kept, _ = self._check(8)
    mask, scribble = (r.annotation for r in manifest.rows if r.id in (
        's0', 'w1'))
    self.assertEqual(np.unique(kept.label(mask)).tolist(), [0, 1])
    self.assertEqual(np.unique(kept.label(scribble)).tolist(), [1, 255])
    self.assertIsNone(kept.label(mask | {'values': {'0': 0, '9': 0}}))

  def test_hashes_are_those_of_the_files(self):
    manifest, kept, _ = self._check(4)
    digest = hashlib.sha256((self.folder / 'mask.png').read_bytes()).digest()
    self.assertEqual(kept.digest('mask.png'), digest)
    self.assertIsNone(kept.digest('none.png'))
    self.assertEqual(*(fingerprints.of_files(
        manifest.rows, manifest.root, k) for k in (None, kept)))
    self.assertEqual(*(builder.metadata(
        manifest, image_size=4, kept=k) for k in (None, kept)))

  def test_little_is_remembered_of_each_image(self):
    numbers, sizes = (64, 320), []
    for number in numbers:
      kept = kept_lib.Kept(self.folder, 4)
      findings = check.inspect_manifest(self._many(number), kept=kept)
      self.assertEqual(findings.problems, [])
      sizes.append(_size_of(
          [findings.facts, findings.logs, vars(kept)], set()))
    each = (sizes[1] - sizes[0]) / (numbers[1] - numbers[0])
    self.assertBetween(each, 200, 1024)

  def _many(self, number):
    """Returns a manifest with `number` pictures and masks of noise."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(number):
      seven_rows.save(self.folder / f'i{i}.png', rng.integers(
          256, size=(16, 16), dtype=np.uint8))
      seven_rows.save(self.folder / f'm{i}.png', rng.integers(
          2, size=(16, 16), dtype=np.uint8))
      kind = ('mask', 'coarse_mask')[i % 2]
      rows.append(manifest_lib.Row(
          f'{i}', f'i{i}.png', 'train', ('strong', 'weak')[i % 2],
          {'kind': kind, 'path': f'm{i}.png'}))
    return manifest_lib.write_manifest(
        self.folder / 'many.jsonl', manifest_lib.Header('n', ('a', 'b')), rows)


class OnceTest(absltest.TestCase):

  def test_prepare_decodes_and_hashes_each_file_once(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    rows = []
    for i, (split, role) in enumerate((
        ('train', 'strong'), ('train', 'weak'), ('val', 'strong'),
        ('test', 'strong'))):
      seven_rows.save(folder / f'i{i}.png', rng.integers(
          256, size=(40, 40, 3), dtype=np.uint8))
      seven_rows.save(folder / f'm{i}.png', np.eye(40, dtype=np.uint8))
      rows.append(manifest_lib.Row(
          f'r{i}', f'i{i}.png', split, role, {
              'kind': 'mask' if role == 'strong' else 'coarse_mask',
              'path': f'm{i}.png'}))
    manifest_lib.write_manifest(
        folder / 'manifest.jsonl', manifest_lib.Header('n', ('a', 'b')), rows)
    decoded, hashed = collections.Counter(), collections.Counter()
    prepare, file_digest = ImageFile.ImageFile.load_prepare, hashlib.file_digest

    def load_prepare(image):
      decoded[os.path.basename(image.filename or image.fp.name)] += 1
      prepare(image)

    def digest(file, name):
      hashed[os.path.basename(file.name)] += 1
      return file_digest(file, name)

    with mock.patch.object(
        ImageFile.ImageFile, 'load_prepare', load_prepare), mock.patch.object(
            hashlib, 'file_digest', digest):
      code, _, errors = prepare_binary.run(
          f'--manifest={folder}/manifest.jsonl', f'--output={folder}/out',
          '--image_size=16')
    self.assertEqual((code, errors), (0, []))
    once = dict.fromkeys([f'{c}{i}.png' for c in 'im' for i in range(4)], 1)
    self.assertEqual(dict(decoded), once)
    self.assertEqual(dict(hashed), once)


if __name__ == '__main__':
  absltest.main()
