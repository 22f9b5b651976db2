"""Tests of experiments.prediction.input_files."""

import contextlib
import io
import os
import pathlib

from absl.testing import absltest
import nibabel
import numpy as np

from experiments import binary
from experiments.prediction import input_files
from tests import dicom_files
from tests import tiny
from tests import volume_files

_ARRAY = np.arange(3 * 4 * 5).reshape(3, 4, 5)


class GroupSeriesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(tiny.temp_dir(self))

  def _write(self, **files):
    for name, content in files.items():
      path = self.folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)

  def _find(self, name='.'):
    """Returns the inputs, and what was printed."""
    with contextlib.redirect_stderr(io.StringIO()) as err:
      inputs = input_files.group_series(
          input_files.find_inputs(str(self.folder / name)))
    return inputs, err.getvalue()

  def _write_series(self, folder):
    files = dicom_files.series(_ARRAY)
    self._write(**{f'{folder}/{name}': c for name, c in files.items()})
    return files

  def test_a_series_is_one_volume_with_the_name_of_its_folder(self):
    files = self._write_series('ct')
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)),
                 self.folder / 'a.nii')
    inputs, _ = self._find()
    self.assertEqual(inputs.names, ('a.nii', 'ct'))
    self.assertTrue(inputs.is_volume('ct') and inputs.is_volume('a.nii'))
    self.assertLen(inputs.series['ct'].files, len(files))
    size, time = inputs.stamp('ct')
    self.assertEqual(int(size), sum(map(len, files.values())))
    path = self.folder / inputs.series['ct'].files[1]
    os.utime(path, ns=(0, int(time) + 5))
    self.assertEqual(inputs.stamp('ct'), (size, str(int(time) + 5)))

  def test_a_series_that_cannot_be_used_is_kept_as_such(self):
    files = self._write_series('ct')
    twice = dicom_files.content(dicom_files.ct_slice(
        _ARRAY[0], (10, 20, -30), instance=50))
    self._write(**{'ct/x.dcm': twice, 'ct/y.dcm': files[min(files)]})
    inputs, _ = self._find()
    wrong, = inputs.wrong
    self.assertIn(wrong, inputs.names)
    self.assertIn('several slices at one position', str(inputs.wrong[wrong]))

  def test_one_slice_is_not_taken_for_a_volume(self):
    files = self._write_series('ct')
    with self.assertRaisesRegex(
        binary.UserError, 'is one slice.*give the folder of its series'):
      self._find(f'ct/{min(files)}')

  def test_without_dicom_nothing_changes(self):
    self._write(**{'a.mha': volume_files.metaimage(_ARRAY.astype('<i2'))})
    found = input_files.find_inputs(str(self.folder))
    self.assertEqual(input_files.group_series(found), found)


class FindInputsTest(absltest.TestCase):

  def test_segmentations_and_data_files(self):
    folder = pathlib.Path(tiny.temp_dir(self))
    array = np.ones((2, 3, 4), np.uint8)
    (folder / 'a.nrrd').write_bytes(volume_files.nrrd(array))
    (folder / 'a.seg.nrrd').write_bytes(volume_files.nrrd(
        array, keys=volume_files.segment_keys(('liver', 1, 0))))
    (folder / 'b.mhd').write_bytes(
        volume_files.metaimage(array, data_file='b.raw'))
    (folder / 'b.raw').write_bytes(array.tobytes())
    with contextlib.redirect_stderr(io.StringIO()) as err:
      inputs = input_files.find_inputs(str(folder))
    self.assertEqual(inputs.names, ('a.nrrd', 'b.mhd'))
    self.assertEqual(err.getvalue(), 'notice: 1 segmentation is left alone, '
                     'such as a.seg.nrrd\n')


if __name__ == '__main__':
  absltest.main()
