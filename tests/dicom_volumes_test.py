"""Tests of data_prep.formats.dicom_volumes: series and files of frames."""

import itertools
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import dicom_volumes
from data_prep.shared import pixels
import numpy as np

from tests import dicom_files

_ARRAY = np.arange(3 * 4 * 5).reshape(3, 4, 5) - 7  # Slices, rows, columns.


class DicomVolumesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.source = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory())) / 'source'

  def _index(self, files, **options):
    for name, content in files.items():
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
    self.report = assembling.Report(formats.Options(**options))
    return dicom_volumes.Index(self.source, self.report)

  def _only(self, files):
    """Returns the only volume of some files."""
    index = self._index(files)
    self.assertEqual(self.report.problems, [])
    name, = index.stacks
    volume = index.read(self.source / name)
    left = index.open(self.source / name)
    np.testing.assert_array_equal(np.asarray(left.voxels), volume.voxels)
    np.testing.assert_array_equal(
        left.voxels[1:2, :, 1:], volume.voxels[1:2, :, 1:])
    again = dicom_volumes.read_again(
        [str(self.source / f) for f in index.files_of()[name]])
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    np.testing.assert_allclose(again.affine, volume.affine)
    return volume

  def test_slices_are_sorted_by_position(self):
    # The names run against the positions, and so do the instance numbers.
    volume = self._only(dicom_files.series(_ARRAY, spacing=(0.5, 0.75)))
    np.testing.assert_array_equal(volume.voxels, np.moveaxis(_ARRAY, 0, 2))
    self.assertEqual(volume.voxels.dtype, np.int16)
    # A row leads backwards by 0.5 mm, a column to the left by 0.75 mm.
    np.testing.assert_allclose(volume.affine, [
        [0, -0.75, 0, -10], [-0.5, 0, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])
    self.assertEqual(volume.notices, ())

  def test_values_are_rescaled_slice_by_slice(self):
    files = {f'{k}.dcm': dicom_files.content(dicom_files.ct_slice(
        plane, (0, 0, k), instance=k, RescaleSlope=k + 1, RescaleIntercept=-5))
             for k, plane in enumerate(_ARRAY)}
    volume = self._only(files)
    for k in range(3):
      np.testing.assert_array_equal(
          volume.voxels[..., k], (k + 1) * _ARRAY[k] - 5)
    self.assertEqual(volume.voxels.dtype, np.float32)

  @parameterized.parameters(*range(6))
  def test_orientations(self, turn):
    axes = np.eye(3)[list([*itertools.permutations(range(3))][turn])]
    along_row, along_column = axes[0], -axes[1]
    normal = np.cross(along_row, along_column)
    files = {f'{9 - k}.dcm': dicom_files.content(dicom_files.ct_slice(
        plane, normal * 3 * k, instance=k, spacing=(0.5, 0.75),
        orientation=(*along_row, *along_column)))
             for k, plane in enumerate(_ARRAY)}
    volume = self._only(files)
    np.testing.assert_array_equal(volume.voxels, np.moveaxis(_ARRAY, 0, 2))
    signs = np.array([-1, -1, 1])
    np.testing.assert_allclose(volume.affine[:3, :3], np.stack([
        0.5 * along_column * signs, 0.75 * along_row * signs,
        3 * normal * signs], 1))

  def test_frames_of_one_file(self):
    places = [(0, 0, 4), (0, 0, 0), (0, 0, 2)]
    volume = self._only({'mf.dcm': dicom_files.content(
        dicom_files.multi_frame(_ARRAY, places))})
    np.testing.assert_array_equal(
        volume.voxels, 2 * np.moveaxis(_ARRAY[[1, 2, 0]], 0, 2) - 100)
    self.assertEqual(volume.spacing_mm, (1, 1, 2))

  def test_a_gap_divides_a_series(self):
    places = [0, 1.25, 2.5, 100, 101.25]
    array = np.arange(5 * 20).reshape(5, 4, 5)
    index = self._index({f'{k}.dcm': dicom_files.content(dicom_files.ct_slice(
        array[k], (0, 0, z), instance=k)) for k, z in enumerate(places)})
    self.assertEqual(list(index.stacks), ['0.dcm', '3.dcm'])
    self.assertEqual([s.shape for s in index.stacks.values()],
                     [(4, 5, 3), (4, 5, 2)])
    self.assertIn('slices are missing in 1 series', self.report.notices[0])
    self.assertEqual(
        [index.names_of[n].id for n in index.stacks], ['0', '3'])

  def test_a_gap_after_the_first_slice(self):
    index = self._index({f'{k}.dcm': dicom_files.content(dicom_files.ct_slice(
        _ARRAY[k], (0, 0, z), instance=k)) for k, z in enumerate([0, 50, 51])})
    self.assertEqual([s.shape for s in index.stacks.values()],
                     [(4, 5, 1), (4, 5, 2)])

  def test_uneven_distances(self):
    volume = self._only({f'{k}.dcm': dicom_files.content(dicom_files.ct_slice(
        _ARRAY[k], (0, 0, z), instance=k)) for k, z in enumerate([0, 1, 2.2])})
    self.assertAlmostEqual(volume.spacing_mm[2], 1.1)
    self.assertIn('uneven', volume.notices[0])

  def test_copies_are_not_read(self):
    files = dicom_files.series(_ARRAY)
    index = self._index(files | {'copy/s01.dcm': files['s01.dcm']})
    self.assertLen(index.stacks, 1)
    self.assertIn('a copy of another slice', self.report.notices[0])

  def test_several_slices_at_one_position(self):
    files = dicom_files.series(_ARRAY)
    self._index(files | {'echo.dcm': dicom_files.content(dicom_files.ct_slice(
        _ARRAY[0], (10, 20, -30), instance=44))})
    problem, = self.report.problems
    self.assertIn('several slices at one position', problem.what)

  def test_series_and_sizes_are_kept_apart(self):
    other = dicom_files.series(_ARRAY[:2], series='1.2.3')
    scout = dicom_files.content(dicom_files.ct_slice(
        np.zeros((7, 7)), (0, 0, 0), instance=9,
        orientation=(1, 0, 0, 0, 0, -1)))
    index = self._index({
        **dicom_files.series(_ARRAY), 'scout.dcm': scout,
        **{f'b/{name}': c for name, c in other.items()}})
    self.assertEqual(sorted(s.shape for s in index.stacks.values()),
                     [(4, 5, 2), (4, 5, 3), (7, 7, 1)])
    self.assertEqual(sorted(n.id for n in index.names_of.values()),
                     ['b', 's01', 'scout'])

  def test_pictures_without_position(self):
    data = dicom_files.ct_slice(_ARRAY[0], (0, 0, 0))
    del data.ImagePositionPatient
    index = self._index({'a.dcm': dicom_files.content(data)})
    self.assertEqual(index.stacks, {})
    self.assertIn('no position, orientation or spacing', self.report.notices[0])

  def test_bad_files(self):
    good = dicom_files.series(_ARRAY)
    data = dicom_files.ct_slice(
        _ARRAY[0], (0, 0, 0), spacing=(0, 1), series='1.2')
    files = {'a/bad.dcm': dicom_files.content(data)} | good
    index = self._index(files)
    self.assertLen(index.stacks, 1)
    problem, = self.report.problems
    self.assertEqual(problem.file, 'a/bad.dcm')
    self.assertIn('spacing is not above 0', problem.what)
    index = self._index(files, leave_out=frozenset({'defective'}))
    self.assertEqual(self.report.problems, [])
    (self.source / 's02.dcm').write_bytes(good['s02.dcm'][:-9])
    index = dicom_volumes.Index(self.source, self.report)
    with self.assertRaisesRegex(pixels.WrongFile, 's02.dcm'):
      index.read(self.source / 's01.dcm')


if __name__ == '__main__':
  absltest.main()
