"""Tests of data_prep.records.chunks."""

import os
import pathlib
import tempfile
import tracemalloc

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.records import chunks
import numpy as np

_SHAPE = (7, 5, 9)
_CHUNK = (4, 4, 3)


def _image(shape=_SHAPE):
  return np.random.default_rng(0).integers(
      300, 65536, shape).astype(np.uint16)


def _label(shape=_SHAPE):
  return np.random.default_rng(1).choice(
      np.array([0, 1, 2, 255], np.uint8), shape)


def _slabs(array, asked=None):
  def read(start, stop):
    if asked is not None:
      asked.append((start, stop))
    return array[..., start:stop]
  return read


class ChunksTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enter_context(tempfile.TemporaryDirectory()))

  def _write(self, name='a', **fields):
    fields = fields or {'label': _slabs(_label()), 'image': _slabs(_image())}
    volume = chunks.write_volume(
        self.folder, f'{name}.array_record', fields, volume_id=name,
        shape=_SHAPE, chunk_size=_CHUNK, more={'split': 'train'})
    chunks.write_index(
        self.folder, [volume], chunk_size=_CHUNK, more={'classes': ['x', 'y']})
    return volume

  def test_the_index(self):
    volume = self._write()
    reader = chunks.Reader(self.folder)
    self.assertEqual(reader.volumes, {'a': volume})
    self.assertEqual(reader.chunk_size, _CHUNK)
    self.assertEqual(reader.more, {'classes': ['x', 'y']})
    self.assertEqual(volume.fields, ('image', 'label'))
    self.assertEqual(volume.fill, _image().min())
    self.assertEqual(volume.more, {'split': 'train'})
    values, counts = np.unique(_label(), return_counts=True)
    self.assertEqual(volume.voxels, dict(zip(
        values.tolist(), counts.tolist(), strict=True)))
    self.assertEqual(
        sorted(p.name for p in self.folder.iterdir()),
        ['a.array_record', 'index.json'])

  def test_any_patch(self):
    self._write()
    reader = chunks.Reader(self.folder)
    rng = np.random.default_rng(2)
    pad = 12
    for field, array, fill in (
        ('image', _image(), _image().min()), ('label', _label(), 255)):
      padded = np.pad(array, pad, constant_values=fill)
      for _ in range(100):
        start = rng.integers(-pad, _SHAPE)
        size = rng.integers(1, pad, 3)
        found = reader.read_patch('a', start.tolist(), size.tolist(), field)
        self.assertEqual(found.dtype, array.dtype)
        np.testing.assert_array_equal(found, padded[tuple(
            slice(s + pad, s + pad + n)
            for s, n in zip(start, size, strict=True))])

  def test_reads_only_the_chunks_that_it_meets(self):
    self._write()
    reader = chunks.Reader(self.folder)
    asked = []
    read = reader._records
    reader._records = lambda volume, numbers: (
        asked.extend(numbers) or read(volume, numbers))
    reader.read_patch('a', (4, 0, 3), (3, 4, 3))  # Exactly chunk (1, 0, 1).
    self.assertEqual(asked, [(1 * 2 + 1) * 2 + 0])
    reader.read_patch('a', (3, 3, 2), (2, 2, 2), 'label')
    self.assertLen(asked, 1 + 8)
    reader.read_patch('a', (50, 0, 0), (2, 2, 2))
    self.assertLen(asked, 9)

  def test_writes_slab_by_slab_and_the_same_bytes(self):
    asked = []
    one = self._write(image=_slabs(_image(), asked), label=_slabs(_label()))
    self.assertEqual(asked, [(0, 3), (3, 6), (6, 9)])
    content = (self.folder / 'a.array_record').read_bytes()
    self.assertEqual(self._write(), one)
    self.assertEqual((self.folder / 'a.array_record').read_bytes(), content)

  def test_memory_is_flat(self):
    shape, chunk = (64, 64, 1024), (32, 32, 16)  # 8 MiB in slabs of 128 KiB.
    row = np.arange(64, dtype=np.uint16)
    tracemalloc.start()
    chunks.write_volume(
        self.folder, 'b', {'image': lambda start, stop: np.broadcast_to(
            row[:, None, None], (64, 64, stop - start))},
        volume_id='b', shape=shape, chunk_size=chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    self.assertLess(peak, 2**20)

  def test_locations(self):
    self._write()
    found = chunks.Reader(self.folder).locations('a')
    self.assertEqual(set(found[:, 0]), {1, 2})
    np.testing.assert_array_equal(
        _label()[tuple(found[:, 1:].T)], found[:, 0])
    self.assertLen(found, ((_label() == 1) | (_label() == 2)).sum())

  def test_locations_of_a_large_object_are_spread(self):
    label = np.ones((20, 20, 40), np.uint8)
    volume = chunks.write_volume(
        self.folder, 'b', {'label': _slabs(label)}, volume_id='b',
        shape=label.shape, chunk_size=(20, 20, 7))
    chunks.write_index(self.folder, [volume], chunk_size=(20, 20, 7))
    found = chunks.Reader(self.folder).locations('b')
    self.assertLen(found, 1000)  # Every 16th of 16 000.
    np.testing.assert_allclose(found[:, 3].mean(), 19.5, atol=0.5)

  def test_no_object(self):
    self._write(image=_slabs(_image()))
    reader = chunks.Reader(self.folder)
    self.assertEqual(reader.locations('a').shape, (0, 4))
    with self.assertRaisesRegex(KeyError, 'a has no truth'):
      reader.read_patch('a', (0, 0, 0), (1, 1, 1), 'truth')

  def test_a_wrong_slab_leaves_nothing(self):
    with self.assertRaisesRegex(ValueError, r'Expected uint16 \(7, 5, 3\)'):
      self._write(image=_slabs(_image().astype(np.int32)))
    self.assertEmpty(list(self.folder.iterdir()))

  def test_damage_is_one_line(self):
    self._write()
    reader = chunks.Reader(self.folder)
    reader.volumes['a'] = reader.volumes['a']._replace(shape=(7, 5, 8))
    with self.assertRaisesRegex(ValueError, 'record 8 of .* is damaged'):
      reader.read_patch('a', (0, 0, 6), (2, 2, 2))
    path = self.folder / 'a.array_record'
    whole = path.read_bytes()
    for content in (whole[:200], b'', bytes(100) + whole[100:]):
      self.assertNotEqual(content, whole)
      path.write_bytes(content)
      with self.assertRaisesRegex(ValueError, 'is damaged'):
        chunks.Reader(self.folder).read_patch('a', (0, 0, 0), _SHAPE)
    path.unlink()
    with self.assertRaisesRegex(ValueError, 'is damaged'):
      chunks.Reader(self.folder).locations('a')
    text = (self.folder / 'index.json').read_text()
    edited = text.replace('"id": "a"', '"id": "b"')
    self.assertNotEqual(text, edited)
    for text in ('{', '[]', '{"chunks_version": 9}', edited):
      (self.folder / 'index.json').write_text(text)
      with self.assertRaisesRegex(ValueError, 'cannot be used .*again$'):
        chunks.Reader(self.folder)

  def test_the_file_of_another_volume_is_refused(self):
    rows = [chunks.write_volume(
        self.folder, f'{name}.array_record',
        {'image': _slabs((_image() + k).astype(np.uint16))}, volume_id=name,
        shape=_SHAPE, chunk_size=(4, 4, 3)) for k, name in enumerate('ab')]
    chunks.write_index(self.folder, rows, chunk_size=(4, 4, 3))
    chunks.Reader(self.folder).read_patch('a', (0, 0, 0), _SHAPE)
    os.replace(
        self.folder / 'b.array_record', self.folder / 'a.array_record')
    with self.assertRaisesRegex(ValueError, 'damaged or of another set'):
      chunks.Reader(self.folder).read_patch('a', (0, 0, 0), _SHAPE)


if __name__ == '__main__':
  absltest.main()
