"""Tests of data_prep.formats.hdf5; those of HDF5 need h5py."""

import importlib.util
import pathlib
import sys
import unittest
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.drawing import rasterize
from data_prep.formats import hdf5
from data_prep.formats import registry
from data_prep.sets import own_set
from data_prep.shared import pixels
import numpy as np

from tests import prepare_binary
from tests import source_case

_HAS_H5PY = importlib.util.find_spec('h5py') is not None
_SUFFIXES = [('.npz',), *([('.h5',)] if _HAS_H5PY else [])]


class Hdf5Test(source_case.VolumesCase):

  def _write(self, name, **arrays):
    if name.endswith('.npz'):
      np.savez_compressed(self.source / name, **arrays)
      return
    import h5py
    with h5py.File(self.source / name, 'w') as file:
      for key, array in arrays.items():
        file.create_dataset(key, data=array, compression='gzip')

  def _label(self, imported, annotation, size=(6, 7)):
    return rasterize.rasterize(
        annotation, size=size, root=self.folder / 'out' / imported.root)

  @parameterized.parameters(*_SUFFIXES)
  def test_slices_with_scribbles_as_wsl4mis_stores_them(self, suffix):
    label = np.zeros((6, 7), np.uint8)
    label[2:4, 3:6] = 3
    label[0, 0], label[5, 5] = 1, 2
    scribble = np.full((6, 7), 4, np.uint8)  # 4 means not annotated.
    scribble[2, 3:5], scribble[5, 0] = 3, 0
    for patient in (1, 2):
      for frame in (1, 12):
        for k in range(2):
          self._write(
              f'patient{patient:03d}_frame{frame:02d}_slice_{k}{suffix}',
              image=np.random.default_rng(k + frame).random((6, 7)),
              label=label, scribble=scribble)
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual({row.subject for row in imported.rows},
                     {'patient001', 'patient002'})
    row = imported.rows[0]
    self.assertEqual(row.id, 'patient001_frame01_slice_0')
    self.assertIsNone(row.spacing_mm)
    np.testing.assert_array_equal(
        self._label(imported, row.annotation), label)
    weak = imported.weak[row.id]
    self.assertEqual(weak['kind'], 'scribble')
    np.testing.assert_array_equal(
        self._label(imported, weak), np.where(scribble == 4, 255, scribble))
    self.assertIn('state no spacing', ' '.join(imported.notices))

  @parameterized.parameters(*_SUFFIXES)
  def test_volumes(self, suffix):
    # [slices, rows, columns] as of ACDC: the shortest axis counts the slices.
    label = np.zeros((3, 6, 7), np.uint8)
    label[1, 2:4, 1:5] = 1
    image = np.arange(3 * 42).reshape(3, 6, 7).astype(np.float32)
    for k in range(2):
      self._write(f'case{k}{suffix}', image=image, label=label)
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual([row.id for row in imported.rows[:3]],
                     ['case0_x000', 'case0_x001', 'case0_x002'])
    np.testing.assert_array_equal(
        self._label(imported, imported.rows[1].annotation), label[1])
    path = self.source / f'case0{suffix}'
    left = hdf5.read_file(path, is_lazy=True)
    np.testing.assert_array_equal(
        left.voxels[1:, 2:3, 1:4], image[1:, 2:3, 1:4])
    np.testing.assert_array_equal(
        hdf5.read_file(pathlib.Path(f'{path}:label')).voxels, label)

  def test_prepare_volumes(self):
    for k in range(6):
      label = np.zeros((8, 9, 10), np.uint8)
      label[2:6, 3:7, 2 : 5 + k % 2] = 1
      rng = np.random.default_rng(k)
      self._write(f'c{k}.npz', label=label,
                  image=50 * label + rng.normal(size=label.shape))
    code, out, err = prepare_binary.run(
        '--volumes', f'--source={self.source}', f'--output={self.folder}/whole')
    self.assertEqual((code, err), (0, []))
    self.assertIn('1 mm with --volumes', out)

  @parameterized.named_parameters(
      ('text', {'image': np.array([['a', 'b']])}, 'real numbers'),
      ('objects', {'image': np.array([[{}, {}]])}, 'real numbers'),
      ('scalar', {'image': np.zeros(())}, 'a single value'),
      ('one_axis', {'image': np.zeros(3)}, 'two or three axes'),
      ('four_axes', {'image': np.zeros((2, 2, 2, 2))}, 'two or three axes'),
      ('empty', {'image': np.zeros((2, 0))}, 'two or three axes'),
      ('no_label', {'image': np.zeros((2, 2))}, ''),
  )
  def test_bad_arrays(self, arrays, expected):
    self._write('a.npz', **arrays)
    if not expected:
      self.assertEqual(hdf5.read_file(self.source / 'a.npz').voxels.shape,
                       (2, 2, 1))
      return
    with self.assertRaisesRegex(pixels.WrongFile, expected):
      hdf5.read_file(self.source / 'a.npz')

  def test_a_damaged_file_does_not_cost_the_set(self):
    for name in ('a', 'b'):
      self._write(f'{name}.npz', image=np.random.default_rng(0).random((6, 7)),
                  label=np.eye(6, 7, dtype=np.uint8))
    (self.source / 'b.npz').write_bytes(
        (self.source / 'b.npz').read_bytes()[:-30])
    problem, = self._read().problems
    self.assertEqual(problem.file, 'b.npz')
    imported = self._read(leave_out=frozenset({'defective'}))
    self.assertEqual([row.id for row in imported.rows], ['a'])

  @parameterized.parameters(*_SUFFIXES)
  def test_other_archives_are_not_sets(self, suffix):
    self._write(f'weights{suffix}', w=np.zeros(3))
    self.assertFalse(hdf5.detect(self.source))
    self.assertIn('have no key image', registry.refusal(self.source))
    with self.assertRaisesRegex(ValueError, "reads; 1 file is not read, .* no "
                                "key 'image'"):
      own_set.read(self.folder, source=self.source, format_name='hdf5',
                   options=formats.Options(), subjects=None, name='a')
    self._write(f'a{suffix}', image=np.zeros((6, 7)))
    self.assertTrue(hdf5.detect(self.source))
    self.assertIn("no key 'image'", ' '.join(self._read().notices))

  @parameterized.parameters(*_SUFFIXES)
  def test_masks_with_another_key_are_told(self, suffix):
    self._write(f'a{suffix}', image=np.zeros((6, 7)), mask=np.zeros((6, 7)))
    self.assertIn(
        f'1 file has keys that are not read, such as a{suffix}: mask; masks '
        "are read from 'label' and 'scribble'", self._read().notices)

  def test_refused_volumes_have_notices_too(self):
    for k in range(2):
      self._write(f'{k}.npz', image=np.arange(27.0).reshape(3, 3, 3) + k,
                  mask=np.zeros((3, 3, 3)))
    code, out, err = prepare_binary.run(
        '--volumes', f'--source={self.source}', '--check')
    self.assertEqual(code, 2)
    self.assertStartsWith(err[0], 'the set: none of 2 pictures is annotated')
    self.assertIn('2 files have keys that are not read', out)

  def test_values_that_are_not_finite_are_told(self):
    image = np.array([[np.nan, 1.0, 2.0], [np.inf, 1.0, 2.0]])
    self._write('a.npz', image=image, label=np.eye(2, 3, dtype=np.uint8))
    self.assertIn('values that are not finite become the lowest or the highest '
                  'intensity: 1 file, such as a.npz', self._read().notices)
    self._write('a.npz', image=image * np.nan)
    problem, = self._read().problems
    self.assertIn('no value of the image is a finite number', str(problem))

  def test_without_h5py(self):
    (self.source / 'a.h5').write_bytes(b'\x89HDF\r\n\x1a\n')
    with mock.patch.dict(sys.modules, {'h5py': None}):
      problem, = self._read().problems
    self.assertEqual(
        str(problem),
        "a.h5: reading .h5 files needs h5py; pip install -e '.[hdf5]'")

  @unittest.skipUnless(_HAS_H5PY, 'h5py is missing.')
  def test_keys_that_are_not_utf8(self):
    import h5py
    with h5py.File(self.source / 'a.h5', 'w') as file:
      file['image'] = file[b'm\xffsk'] = file['\n'] = np.zeros((6, 7))
    self.assertIn('such as a.h5: ?, m\xffsk;', ' '.join(self._read().notices))

  @unittest.skipUnless(_HAS_H5PY, 'h5py is missing.')
  def test_links_to_other_files_are_not_followed(self):
    import h5py
    self._write('a.h5', image=np.zeros((6, 7)))
    with h5py.File(self.source / 'b.h5', 'w') as file:
      file['image'] = h5py.ExternalLink('a.h5', '/image')
    with self.assertRaisesRegex(pixels.WrongFile, 'in another file'):
      hdf5.read_file(self.source / 'b.h5')


if __name__ == '__main__':
  absltest.main()
