"""Tests of data_prep.formats.volume_files."""

import gzip
import pathlib
import tempfile
import zlib

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.formats import nrrd_file
from data_prep.formats import volume_files
from data_prep.formats import volumes
from data_prep.shared import scratch
from data_prep.shared import volume_type
import nibabel
import numpy as np

from tests import volume_files as by_hand

_AFFINE = np.array([
    [0.8, 0.9, 0, -4], [-0.6, 1.2, 0, 20.5], [0, 0, -2.5, 7], [0, 0, 0, 1]])
_MASK = np.arange(4 * 3 * 5, dtype=np.uint8).reshape(4, 3, 5)
_PROBS = np.random.default_rng(0).random((4, 3, 5, 2), np.float32)


class SaveTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def _save(self, name, array, header=None, **options):
    volume = volume_type.Volume(
        np.zeros(array.shape[:3], np.int16), _AFFINE, header=header)
    volume_files.save(self.folder / name, array, volume, **options)
    self.assertEqual([p.name for p in self.folder.iterdir()], [name])
    return self.folder / name

  @parameterized.product(
      name=['a.nii.gz', 'a.nrrd', 'a.seg.nrrd', 'a.mha'],
      on_disk=[False, True])
  def test_is_read_back_at_its_place(self, name, on_disk):
    array = _MASK
    if on_disk:
      array = scratch.make_array(_MASK.shape, np.uint8, order='F')
      array[...] = _MASK
    volume = volume_files.read(self._save(name, array))
    self.assertEqual(volume.voxels.dtype, np.uint8)
    np.testing.assert_array_equal(volume.voxels, _MASK)
    np.testing.assert_allclose(volume.affine, _AFFINE, atol=1e-6)
    self.assertEqual(volume.notices, ())
    maps = volume_files.read(self._save(name, _PROBS[..., 0]))
    np.testing.assert_array_equal(maps.voxels, _PROBS[..., 0])

  def test_the_bytes_of_nifti_are_those_of_nibabel(self):
    for form in (nibabel.Nifti1Image, nibabel.Nifti2Image):
      for array in (_MASK, _PROBS):
        image = form(array, _AFFINE)
        image.header.set_xyzt_units('mm')
        image.set_qform(_AFFINE, 1)
        image.set_sform(_AFFINE, 1)
        path = self._save('a.nii.gz', array, header=image.header)
        self.assertEqual(gzip.decompress(path.read_bytes()), image.to_bytes())

  def test_several_numbers_a_voxel(self):
    found = nrrd_file.open_layers(
        path := self._save('a.nrrd', _PROBS), nrrd_file.read_header(path))
    np.testing.assert_array_equal(np.moveaxis(found.layers, 0, -1), _PROBS)
    np.testing.assert_allclose(found.affine, _AFFINE)
    path.unlink()
    content = self._save('a.mha', _PROBS).read_bytes()
    self.assertIn(b'ElementNumberOfChannels = 2\n', content)
    # All numbers of a voxel lie together, as ITK reads them.
    values = zlib.decompress(content.partition(b'LOCAL\n')[2])
    np.testing.assert_array_equal(
        np.frombuffer(values, '<f4').reshape((2, 4, 3, 5), order='F'),
        np.moveaxis(_PROBS, -1, 0))

  def test_axes_that_are_not_at_right_angles(self):
    affine = _AFFINE + 0.01 * np.eye(4)[[1, 0, 2, 3]]
    affine[3] = 0, 0, 0, 1
    volume_files.save(
        self.folder / 'a.nii.gz', _MASK, volume_type.Volume(_MASK, affine))
    found = volume_files.read(self.folder / 'a.nii.gz')
    np.testing.assert_allclose(found.affine, affine, atol=1e-6)

  def test_the_header_of_metaimage_names_the_length_of_the_stream(self):
    header, _, stream = self._save('a.mha', _MASK).read_bytes().partition(
        b'LOCAL\n')
    line, = [line for line in header.decode().splitlines()
             if line.startswith('CompressedDataSize = ')]
    self.assertEqual(int(line.partition('=')[2]), len(stream))

  def test_segments_have_the_names_of_classes(self):
    path = self._save(
        'a.seg.nrrd', _MASK % 3, classes=('background', 'left\nlung', 'liver'))
    self.assertTrue(volume_files.is_segmentation(path))
    self.assertEqual(
        nrrd_file.segments_of(nrrd_file.read_header(path)),
        [nrrd_file.Segment('left lung', 1, 0), nrrd_file.Segment('liver', 2, 0)]
    )

  def test_nothing_else_of_a_header_is_copied(self):
    header = nibabel.Nifti1Header()
    header['descrip'] = b'Jane Doe'
    header.set_sform(_AFFINE, 2)
    header.set_data_shape(_MASK.shape)
    header.set_slope_inter(3, 4)
    saved = nibabel.load(self._save('a.nii.gz', _MASK, header=header))
    self.assertNotIn(b'Jane', bytes(saved.header.binaryblock))
    self.assertEqual(int(saved.header['sform_code']), 2)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), _MASK)


class NamesTest(absltest.TestCase):

  def test_results_have_the_format_of_the_file(self):
    for name, mask, maps in (
        ('a.nii', '.nii.gz', '.nii.gz'), ('series', '.nii.gz', '.nii.gz'),
        ('A.NHDR', '.seg.nrrd', '.nrrd'), ('a.mhd', '.mha', '.mha')):
      self.assertEqual(volume_files.result_suffix(name, is_mask=True), mask)
      self.assertEqual(volume_files.result_suffix(name, is_mask=False), maps)

  def test_other_files_of_a_header(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'a.mhd')
      path.write_bytes(by_hand.metaimage(
          np.zeros((2, 2, 2), np.uint8), data_file='b.raw'))
      self.assertEqual(volume_files.data_files(path), ('b.raw',))
      self.assertEqual(volume_files.data_files(path.with_suffix('.nii')), ())

  def test_lazy_voxels_are_copies(self):
    """So that the pages of the file can be taken out of memory."""
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder, 'a.nii')
      nibabel.save(nibabel.Nifti1Image(_MASK, _AFFINE), path)
      block = volumes.open_nifti(path).voxels[:, :, 1:3]
      self.assertIsNone(block.base)
      np.testing.assert_array_equal(block, _MASK[:, :, 1:3])


if __name__ == '__main__':
  absltest.main()
