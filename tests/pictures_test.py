"""Tests for experiments.prediction.pictures, which cuts files into tiles."""

import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import nibabel
import numpy as np
from PIL import Image

from data_prep.formats import volume_files
from data_prep.formats import volumes
from data_prep.records import preparation as preparation_lib
from data_prep.shared import pixels
from experiments.prediction import pictures
from tests import oriented
from tests import tiny

_TRAINED = preparation_lib.Preparation(None, 'LPS', 2)


def _volume(shape=(7, 5, 4), seed=0):
  """Returns the voxels and affine of an asymmetric volume, oriented as RAS."""
  voxels = np.random.default_rng(seed).integers(-500, 900, size=shape)
  affine = np.diag([1.5, 2.0, 4.0, 1.0])
  affine[:3, 3] = -10, 20, 5
  return voxels.astype(np.int16), affine


class VolumesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(tiny.temp_dir(self))

  def _open(self, name, preparation=_TRAINED):
    return pictures.open_file(
        name, pixels.open_folder(self._dir), preparation=preparation,
        channels=1)

  def test_there_are_48_orientations(self):
    self.assertLen(set(oriented.ORIENTATIONS), 48)

  def test_every_orientation_gives_the_same_slices_and_comes_back(self):
    voxels, affine = _volume()
    tiling = pictures.Tiling((16, 16), 1)
    first = None
    for orientation in oriented.ORIENTATIONS:
      image = oriented.stored_as(voxels, affine, orientation)
      image.to_filename(self._dir / 'a.nii.gz')
      opened = self._open('a.nii.gz')
      tiles = pictures.tiles_of(opened, tiling)
      if first is None:
        first = tiles
      self.assertLen(tiles, 4)
      np.testing.assert_array_equal(tiles, first, orientation)
      # A map with another value at each voxel must return to the file with
      # each value at its own voxel.
      marks = oriented.stored_as(
          np.arange(voxels.size, dtype=np.int32).reshape(voxels.shape), affine,
          orientation)
      stored = np.asarray(marks.dataobj)
      turned = nibabel.apply_orientation(stored, opened.turned[0])
      back = pictures.to_stored(
          opened, [np.take(turned, k, opened.axis) for k in range(4)])
      np.testing.assert_array_equal(back, stored, orientation)
      path = self._dir / 'b.nii.gz'
      volume_files.save(path, (back % 3).astype(np.uint8), opened.volume)
      saved = nibabel.load(path)
      self.assertEqual(saved.shape, image.shape)
      np.testing.assert_allclose(saved.affine, image.affine, atol=1e-5)
      np.testing.assert_array_equal(
          np.asarray(saved.as_reoriented(nibabel.orientations.ornt_transform(
              nibabel.io_orientation(saved.affine),
              nibabel.io_orientation(affine))).dataobj),
          np.arange(voxels.size).reshape(voxels.shape) % 3, orientation)

  def test_without_volumes_in_the_training_set_it_is_taken_as_stored(self):
    voxels, affine = _volume()
    oriented.stored_as(voxels, affine, 'SLP').to_filename(self._dir / 'a.nii')
    opened = self._open('a.nii', preparation_lib.Preparation())
    self.assertEqual(opened.axis, 0)  # This axis has the largest spacing.
    self.assertEqual(opened.slices[0].shape, (7, 5, 1))

  @parameterized.named_parameters(
      ('flat', (6, 5), nibabel.Nifti1Image, '<'),
      ('four_axes', (6, 5, 3, 1), nibabel.Nifti1Image, '<'),
      ('nifti2', (6, 5, 3), nibabel.Nifti2Image, '<'),
      ('big_endian', (6, 5, 3), nibabel.Nifti1Image, '>'))
  def test_geometry_of_odd_files(self, shape, form, endian):
    header = form.header_class(endianness=endian)
    header['descrip'] = b'Jane Doe'
    header.set_xyzt_units('mm')
    affine = np.array(
        [[0, -2, 0, 3], [1, 0, 0.2, 4], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    image = form(np.arange(np.prod(shape), dtype=np.int16).reshape(shape),
                 affine, header)
    image.set_sform(affine, code=2)
    image.set_qform(None, code=0)
    image.to_filename(self._dir / 'a.nii.gz')
    opened = self._open('a.nii.gz')
    labels = [np.full(s.shape[:2], 3, np.uint8) for s in opened.slices]
    path = self._dir / 'out.nii.gz'
    volume_files.save(
        path, pictures.to_stored(opened, labels), opened.volume)
    saved = nibabel.load(path)
    self.assertEqual(saved.shape, shape)
    self.assertIsInstance(saved, form)
    self.assertEqual(saved.get_data_dtype(), np.uint8)
    np.testing.assert_allclose(saved.affine, affine, atol=1e-6)
    self.assertEqual(int(saved.header['sform_code']), 2)
    self.assertEqual(saved.header.get_xyzt_units()[0], 'mm')
    self.assertEqual(bytes(saved.header['descrip']).strip(b'\0'), b'')
    self.assertEqual(os.listdir(self._dir), ['a.nii.gz', 'out.nii.gz']
                     if os.listdir(self._dir)[0] == 'a.nii.gz'
                     else ['out.nii.gz', 'a.nii.gz'])

  def test_probabilities_get_an_axis_of_classes(self):
    voxels, affine = _volume()
    oriented.stored_as(voxels, affine, 'LPS').to_filename(
        self._dir / 'a.nii.gz')
    opened = self._open('a.nii.gz')
    maps = [np.full((7, 5, 2), k, np.float32) for k in range(4)]
    path = self._dir / 'p.nii.gz'
    volume_files.save(path, pictures.to_stored(opened, maps), opened.volume)
    saved = nibabel.load(path)
    self.assertEqual(saved.shape, (7, 5, 4, 2))
    np.testing.assert_array_equal(saved.get_fdata()[0, 0, :, 1], range(4))

  def test_the_window_of_intensities_is_that_of_the_training_set(self):
    voxels, affine = _volume()
    oriented.stored_as(voxels, affine, 'LPS').to_filename(
        self._dir / 'a.nii.gz')
    opened = self._open(
        'a.nii.gz', preparation_lib.Preparation((-500, 520), 'LPS', 2))
    flipped = voxels[::-1, ::-1, 0].astype(np.float64)
    expected = np.round(np.clip(flipped + 500, 0, 1020) * 255 / 1020)
    np.testing.assert_array_equal(opened.slices[0][..., 0], expected)


  def test_axes_that_the_user_gives(self):
    self.assertTrue(all(map(pictures.is_orientation, oriented.ORIENTATIONS)))
    for axes in ('', 'LP', 'LPL', 'LPX', 'LPSS', 'stored'):
      self.assertFalse(pictures.is_orientation(axes), axes)
    voxels, affine = _volume()
    oriented.stored_as(voxels, affine, 'SLP').to_filename(self._dir / 'a.nii')
    stored = preparation_lib.Preparation(None, pictures.STORED, None)
    opened = self._open('a.nii', stored)
    self.assertEqual(opened.axis, 0)
    np.testing.assert_array_equal(*opened.turned)


class PicturesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._dir = pathlib.Path(tiny.temp_dir(self))

  def _open(self, array, name='a.png', channels=3):
    Image.fromarray(array).save(self._dir / name)
    return pictures.open_file(
        name, pixels.open_folder(self._dir),
        preparation=preparation_lib.Preparation(), channels=channels)

  def test_gray_is_repeated_for_networks_of_colour(self):
    gray = np.arange(30, dtype=np.uint8).reshape(5, 6)
    image = self._open(gray).slices[0]
    np.testing.assert_array_equal(image, np.stack([gray] * 3, axis=-1))

  def test_colour_is_refused_by_networks_of_gray_unless_it_is_gray(self):
    gray = np.arange(30, dtype=np.uint8).reshape(5, 6)
    image = self._open(np.stack([gray] * 3, axis=-1), channels=1).slices[0]
    np.testing.assert_array_equal(image[..., 0], gray)
    colour = np.stack([gray, gray, 255 - gray], axis=-1)
    with self.assertRaisesRegex(pixels.WrongFile, 'in colour'):
      self._open(colour, channels=1)

  @parameterized.parameters('a.png', 'a.tif')
  def test_16_bits_are_windowed(self, name):
    deep = np.linspace(0, 60000, 30).reshape(5, 6).astype(np.uint16)
    image = self._open(deep, name, channels=1).slices[0][..., 0]
    self.assertEqual((image.min(), image.max()), (0, 255))
    self.assertTrue(np.all(np.diff(image.ravel().astype(int)) >= 0))

  @parameterized.parameters((1, 1), (5, 6), (97, 13), (200, 201))
  def test_odd_sizes_come_back(self, height, width):
    opened = self._open(np.zeros((height, width), np.uint8))
    tiling = pictures.Tiling((16, 16), 3)
    tiles = pictures.tiles_of(opened, tiling)
    self.assertEqual(tiles[0].shape, (16, 16, 3))
    (merged,) = pictures.merge(
        opened, [np.full((16, 16, 2), 0.5, np.float32)], tiling)
    np.testing.assert_allclose(merged, np.full((height, width, 2), 0.5))
    tiling = tiling._replace(windowed=True)
    tiles = pictures.tiles_of(opened, tiling)
    maps = [t.astype(np.float32) for t in tiles]
    (merged,) = pictures.merge(opened, maps, tiling)
    self.assertEqual(merged.shape, (height, width, 3))

  @parameterized.parameters((16, 16), (9, 16), (3, 5))
  def test_one_window_is_the_picture(self, height, width):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, size=(height, width), dtype=np.uint8)
    opened = self._open(picture, channels=1)
    tiling = pictures.Tiling((16, 16), 1, windowed=True)
    (tile,) = pictures.tiles_of(opened, tiling)
    np.testing.assert_array_equal(tile[:height, :width, 0], picture)
    (merged,) = pictures.merge(opened, [tile / np.float32(3)], tiling)
    np.testing.assert_array_equal(merged[..., 0], picture / np.float32(3))

  def test_a_tile_is_what_the_records_hold(self):
    # The tiles must be resized by the same function as the records.
    from data_prep.records import schema
    from data_prep import manifest as manifest_lib

    rng = np.random.default_rng(0)
    opened = self._open(rng.integers(0, 256, (37, 51, 3), dtype=np.uint8))
    (tile,) = pictures.tiles_of(opened, pictures.Tiling((16, 16), 3))
    row = manifest_lib.Row('a', 'a.png', 'test', 'unlabelled', None)
    example = schema.make_example(
        row, root=self._dir, image_size=16, num_classes=2, channels=3,
        instance_id=-1)
    np.testing.assert_array_equal(tile, example['image'])


class LikeliestTest(absltest.TestCase):

  def test_of_equal_classes_the_first_is_taken(self):
    probabilities = np.array(
        [[[0.5, 0.5], [0.2, 0.8]], [[0.6, 0.4], [0.0, 1.0]]], np.float32)
    self.assertEqual(
        pictures.likeliest(probabilities).tolist(), [[0, 1], [0, 1]])

  def test_it_is_argmax_and_leaves_its_input(self):
    values = np.random.default_rng(0).integers(0, 5, size=(9, 7, 4)) / 4
    for probabilities in values, values[:1, :1], values[..., :1]:
      before = probabilities.copy()
      np.testing.assert_array_equal(
          pictures.likeliest(probabilities), probabilities.argmax(-1))
      np.testing.assert_array_equal(probabilities, before)


class PreparationTest(absltest.TestCase):

  def test_round_trip(self):
    folder = pathlib.Path(tiny.temp_dir(self))
    self.assertEqual(preparation_lib.read(folder),
                     preparation_lib.Preparation())
    (folder / 'volumes.json').write_text(
        '{"a": {"axis": 1, "affine": [[-1,0,0,0],[0,-1,0,0],[0,0,1,0],'
        '[0,0,0,1]]}}')
    preparation_lib.write(folder, intensity_range=(-100.0, 300.0))
    self.assertEqual(
        preparation_lib.read(folder),
        preparation_lib.Preparation((-100.0, 300.0), 'LPS', 1))

  def test_volume_header_is_kept(self):
    folder = pathlib.Path(tiny.temp_dir(self))
    voxels, affine = _volume()
    nibabel.Nifti1Image(voxels, affine).to_filename(folder / 'a.nii')
    volume = volumes.read_nifti(folder / 'a.nii')
    self.assertEqual(volume.header.get_data_shape(), voxels.shape)


if __name__ == '__main__':
  absltest.main()
