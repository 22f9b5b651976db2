"""Tests of data_prep.formats.nrrd_writing."""

import gzip
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import manifest as manifest_lib
from data_prep.formats import nrrd
from data_prep.formats import nrrd_file
from data_prep.formats import nrrd_writing
from data_prep.formats import registry
from data_prep.formats import volume_cases
from data_prep.shared import pixels
from data_prep.shared import volume_type
import numpy as np

_AFFINE = np.array([
    [-0.5, 0, 0.1, 10], [0, -0.5, 0, 20.25], [0.3, 0, 2, -30], [0, 0, 0, 1]])


class NrrdWritingTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'a.seg.nrrd'

  def test_a_segmentation_by_hand(self):
    label = np.zeros((2, 3, 4), np.uint8)
    label[1, 2, 1:3] = 2
    label[0, 0, 3] = 255
    nrrd_writing.write_segmentation(
        self.path, label, _AFFINE, ['a', 'b\\'], unlabelled='unlabelled')
    header, _, voxels = self.path.read_bytes().partition(b'\n\n')
    self.assertEqual(gzip.decompress(voxels), label.tobytes(order='F'))
    lines = header.decode().split('\n')
    self.assertEqual(lines[:10], [
        'NRRD0005', 'type: uint8', 'dimension: 3',
        'space: left-posterior-superior', 'sizes: 2 3 4',
        'space directions: (0.5,0.0,0.3) (0.0,0.5,0.0) (-0.1,0.0,2.0)',
        'kinds: domain domain domain', 'endian: little', 'encoding: gzip',
        'space origin: (-10.0,-20.25,-30.0)'])
    self.assertContainsSubset({
        'Segment0_Name:=a', 'Segment0_LabelValue:=1', 'Segment0_Layer:=0',
        'Segment0_Extent:=0 -1 0 -1 0 -1', 'Segment1_Name:=b\\\\',
        'Segment1_Extent:=1 1 2 2 1 2', 'Segment2_Name:=unlabelled',
        'Segment2_LabelValue:=255', 'Segment2_Extent:=0 0 0 0 3 3',
        'Segmentation_ReferenceImageExtentOffset:=0 0 0'}, lines)
    self.assertEqual(nrrd.names(self.path), ('a', 'b\\', 'unlabelled'))
    image = volume_type.Volume(np.zeros(label.shape), _AFFINE)
    drawn = nrrd.draw(self.path, image, {'unlabelled': 255, 'a': 1, 'b\\': 2})
    np.testing.assert_array_equal(drawn.label, label)

  def test_no_segment_of_unlabelled_voxels_if_there_are_none(self):
    nrrd_writing.write_segmentation(
        self.path, np.zeros((2, 3, 4), np.uint8), np.eye(4), ['a'],
        unlabelled='unlabelled')
    self.assertEqual(nrrd.names(self.path), ('a',))

  @parameterized.parameters(*'bBhHiIlLfd')
  def test_volumes_come_back_bit_by_bit(self, code):
    rng = np.random.default_rng(0)
    affine = np.eye(4)
    affine[:3] = rng.normal(size=(3, 4))
    voxels = (rng.normal(size=(3, 4, 5)) * 100).astype(code)
    for path in (self.folder / 'a.nrrd', self.folder / 'b.nrrd'):
      nrrd_writing.write_volume(path, voxels, affine)
      found = nrrd_file.read_nrrd(path)
      np.testing.assert_array_equal(found.voxels, voxels)
      self.assertEqual(found.voxels.dtype, voxels.dtype)
      np.testing.assert_array_equal(found.affine, affine)
      self.assertEqual(found.notices, ())
    self.assertEqual(path.read_bytes(), (self.folder / 'a.nrrd').read_bytes())

  @parameterized.parameters('a  b', 'void', 'x' * 61, ' a', 'a\n')
  def test_a_class_that_cannot_be_a_segment(self, name):
    manifest = manifest_lib.Manifest(
        manifest_lib.Header('set', ('background', name)), (), self.folder)
    with self.assertRaisesRegex(pixels.WrongFile, 'cannot be the name'):
      registry.write(manifest, 'nrrd', self.folder / 'out')
    self.assertFalse((self.folder / 'out').exists())

  @parameterized.parameters(
      ('a.nrrd', False, True), ('a.nrrd', True, False), ('a.MHA', False, True),
      ('a.mhd', False, False))
  def test_images_in_one_file_are_linked(self, name, is_detached, is_linked):
    path = self.folder / name
    header = 'NRRD0005\ntype: uchar\ndimension: 3\nsizes: 1 1 1\n'
    path.write_text(header + 'encoding: raw\n' + (
        'data file: a.raw\n' if is_detached else '') + '\n\0', 'utf-8')
    case = volume_cases.Case(
        'c', (1, 1, 1), np.eye(4), 'nrrd' if name == 'a.nrrd' else 'metaimage',
        (str(path),), dict)
    voxels = np.ones((1, 1, 1), np.float16)
    with absltest.mock.patch.object(
        volume_cases, 'read_image', return_value=voxels):
      registry.write_volumes([case], ('background', 'a'), 'nrrd',
                             self.folder / 'out')
    found, = (self.folder / 'out/images').iterdir()
    self.assertEqual(found.is_symlink(), is_linked)
    self.assertEqual(found.name, 'c.mha' if name == 'a.MHA' else 'c.nrrd')
    if not is_linked:
      self.assertEqual(nrrd_file.read_nrrd(found).voxels.item(), 1)


if __name__ == '__main__':
  absltest.main()
