"""Tests of data_prep.formats.metaimage."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import metaimage
from data_prep.formats import registry
from data_prep.formats import volumes
from data_prep.shared import pixels
import numpy as np

from tests import prepare_binary
from tests import volume_files

_SHAPE = (4, 5, 3)


def _array(dtype=np.int16):
  return np.arange(60, dtype=dtype).reshape(_SHAPE, order='F')


class MetaImageTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def _read(self, content, name='a.mha'):
    (self.folder / name).write_bytes(content)
    volume = metaimage.read_metaimage(self.folder / name)
    left = metaimage.read_metaimage(
        self.folder / name, is_lazy=True, folder=self.folder)
    np.testing.assert_array_equal(np.asarray(left.voxels), volume.voxels)
    self.assertEqual(left.voxels.dtype, volume.voxels.dtype)
    return volume

  @parameterized.product(
      compressed=[False, True], dtype=['<i1', '<u1', '>i2', '<u4', '<f8'])
  def test_voxels(self, compressed, dtype):
    volume = self._read(volume_files.metaimage(
        _array(np.dtype(dtype)), compressed=compressed))
    self.assertEqual(volume.voxels[1, 2, 1], 1 + 4 * 2 + 20 * 1)
    np.testing.assert_array_equal(volume.voxels, _array())

  def test_rows_of_the_matrix_are_directions_of_axes(self):
    volume = self._read(volume_files.metaimage(
        _array(), matrix='0 -1 0 1 0 0 0 0 1', spacing='0.5 0.75 2',
        offset='10 20 -30'))
    # The first axis points to the front: away from the back, -0.5 mm in LPS.
    np.testing.assert_allclose(volume.affine, [
        [0, -0.75, 0, -10], [0.5, 0, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])

  def test_header_and_voxels_in_two_files(self):
    (self.folder / 'a.raw').write_bytes(_array().tobytes('F'))
    volume = self._read(
        volume_files.metaimage(_array(), data_file='a.raw'), 'a.mhd')
    np.testing.assert_array_equal(volume.voxels, _array())
    (self.folder / 'a.raw').write_bytes(b'start' + _array().tobytes('F'))
    volume = self._read(volume_files.metaimage(
        _array(), data_file='a.raw', more='HeaderSize = -1\n'), 'a.mhd')
    np.testing.assert_array_equal(volume.voxels, _array())

  def test_two_axes(self):
    volume = self._read(volume_files.metaimage(
        _array()[..., 0], matrix='1 0 0 1', offset='3 4', spacing='0.5 0.5'))
    self.assertEqual(volume.voxels.shape, (4, 5, 1))
    np.testing.assert_allclose(volume.affine, [
        [-0.5, 0, 0, -3], [0, -0.5, 0, -4], [0, 0, 1, 0], [0, 0, 0, 1]])

  @parameterized.named_parameters(
      ('empty', b'', 'is empty, 0 bytes'),
      ('short', volume_files.metaimage(_array())[:-1], 'shorter than its'),
      ('short_zlib', volume_files.metaimage(
          _array(), compressed=True)[:-9], 'damaged'),
      ('damaged_zlib', volume_files.metaimage(
          _array(), compressed=True)[:-4] + bytes(4), 'damaged'),
      ('more_zlib', volume_files.metaimage(
          _array(), compressed=True).replace(b'= 4 5 3', b'= 4 5 2'),
       'more voxels than'),
      ('many', volume_files.metaimage(_array()).replace(
          b'DimSize = 4 5 3', b'DimSize = 99999 99999 9'), 'than 256 MiB'),
      ('zero', volume_files.metaimage(_array()).replace(
          b'DimSize = 4 5 3', b'DimSize = 4 0 3'), 'length below 1'),
      ('colours', volume_files.metaimage(
          _array(), more='ElementNumberOfChannels = 3\n'), 'one real number'),
      ('singular', volume_files.metaimage(
          _array(), matrix='1 0 0 1 0 0 0 0 1'), 'singular'),
      ('spacing', volume_files.metaimage(
          _array(), spacing='nan 1 1'), 'no valid elementspacing'),
      ('outside', volume_files.metaimage(_array(), data_file='../a.raw'),
       'outside of the folder'),
      ('list', volume_files.metaimage(_array(), data_file='LIST\na'),
       'in several files'),
      ('missing', volume_files.metaimage(_array(), data_file='b.raw'),
       'is missing'),
      ('no_file', volume_files.metaimage(_array()).replace(
          b'ElementDataFile', b'Other'), 'header'),
  )
  def test_bad(self, content, expected):
    with self.assertRaises(pixels.WrongFile) as caught:
      self._read(content)
    self.assertIn(expected, str(caught.exception))

  def test_four_axes_are_refused(self):
    with self.assertRaises(volumes.FurtherAxis):
      self._read(volume_files.metaimage(
          np.zeros((4, 5, 3, 2), np.int16), matrix=' '.join(
              map(str, np.eye(4, dtype=int).ravel())), offset='0 0 0 0',
          spacing='1 1 1 1'))

  def test_a_set(self):
    for k in range(6):
      label = np.zeros((9, 10, 8), np.uint8)
      label[2:6, 3:7, 2 : 5 + k % 2] = 1
      rng = np.random.default_rng(k)
      image = (100 * label + rng.integers(0, 50, label.shape)).astype(np.int16)
      (self.folder / f'c{k}.raw').write_bytes(image.tobytes('F'))
      (self.folder / f'c{k}.mhd').write_bytes(
          volume_files.metaimage(image, data_file=f'c{k}.raw'))
      (self.folder / f'c{k}_mask.mha').write_bytes(
          volume_files.metaimage(label, compressed=True))
    output = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.assertEqual(registry.detect_format(self.folder), 'metaimage')
    imported = registry.read(
        'metaimage', self.folder, output, formats.Options())
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.notices, [])  # The voxels' files are read, too.
    self.assertEqual(len(imported.rows), 6 * 8)
    code, out, err = prepare_binary.run(
        '--volumes', f'--source={self.folder}', f'--output={output}/whole')
    self.assertEqual((code, err), (0, []))
    self.assertIn('train: 4 volumes of 4 subjects', out)


if __name__ == '__main__':
  absltest.main()
