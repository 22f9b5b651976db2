"""Tests of data_prep.formats.dicom_seg_writing; most need highdicom."""

import importlib.util
import sys
import unittest
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import dicom_seg
from data_prep.formats import registry
from data_prep.shared import pixels
from data_prep.shared import volume_type
import numpy as np
import pydicom

from tests import dicom_files
from tests import source_case
from tests.long import volume_round_trips

_CLASSES = ('background', 'liver', 'ü')
_MARK = dicom_files.MARK


class DicomSegWritingTest(source_case.SourceCase):

  def _cases(self, labels=None):
    """Returns the volumes of the source with one label map for each id."""
    found = volume_round_trips.read('dicom_seg', self.source, formats.Options())
    return {key: case._replace(read_labels=lambda key=key: (
        {} if labels is None else labels[key]))
            for key, case in found.cases.items()}

  def _write(self, cases, classes=_CLASSES):
    output = self.output / 'out'
    registry.write_volumes(cases.values(), classes, 'dicom_seg', output)
    return output

  def _write_series(self, number=3, shape=(4, 5)):
    array = np.zeros((number, *shape), np.int16)
    for name, content in dicom_files.series(array).items():
      self.write(f'p/{name}', content)
    return self._cases()

  def test_images_that_are_not_dicom(self):
    self._write_series()
    cases = {key: case._replace(format_name='nifti', files=('/x/a.nii.gz',))
             for key, case in self._cases().items()}
    with self.assertRaisesRegex(
        pixels.WrongFile,
        'needs DICOM series, .*; p: a.nii.gz; use --format=nrrd, or nifti'):
      self._write(cases)
    self.assertFalse((self.output / 'out').exists())

  def test_without_highdicom(self):
    cases = self._write_series()
    with mock.patch.dict(sys.modules, {'highdicom': None}):
      with self.assertRaisesRegex(
          pixels.WrongFile, r"highdicom; pip install -e '.\[dicom_seg\]'"):
        self._write(cases)
    self.assertFalse((self.output / 'out').exists())

  def test_a_class_that_dicom_would_divide(self):
    with self.assertRaisesRegex(pixels.WrongFile, r'without \\'):
      self._write({}, ('background', 'a\\b'))


@unittest.skipUnless(importlib.util.find_spec('highdicom'), 'needs highdicom')
class HighdicomTest(DicomSegWritingTest):

  def _drawn(self, output, name='segmentations/p.dcm', image=None):
    """Returns the label map of an object on the only volume of the source."""
    case = next(iter(self._cases().values()))
    image = image or volume_type.Volume(np.zeros(case.shape), case.affine)
    return dicom_seg.draw(
        output / name, image, {'unlabelled': 255, 'liver': 1, 'ü': 2})

  def test_there_and_back(self):
    cases = self._write_series()
    label = np.zeros((4, 5, 3), np.uint8)
    label[1, 2, 0], label[3, 4, 2], label[:, 0, 1] = 1, 2, 255
    output = self._write({key: case._replace(
        read_labels=lambda: {'mask': label}) for key, case in cases.items()})
    self.assertEqual(
        dicom_seg.names(output / 'segmentations/p.dcm'),
        ('liver', 'ü', 'unlabelled'))
    np.testing.assert_array_equal(self._drawn(output).label, label)
    self.assertEqual(
        sorted(p.name for p in (output / 'images/p').iterdir()),
        ['s01.dcm', 's02.dcm', 's03.dcm'])
    found = pydicom.dcmread(output / 'segmentations/p.dcm')
    slices = [pydicom.dcmread(p) for p in (self.source / 'p').iterdir()]
    self.assertEqual(found.StudyInstanceUID, slices[0].StudyInstanceUID)
    series, = found.ReferencedSeriesSequence
    self.assertEqual(series.SeriesInstanceUID, slices[0].SeriesInstanceUID)
    self.assertEqual(
        {item.ReferencedSOPInstanceUID
         for item in series.ReferencedInstanceSequence},
        {data.SOPInstanceUID for data in slices})

  def test_nothing_of_the_patient_is_written(self):
    """Tests files of several frames, too, whose frames have comments."""
    self._write_series()
    self.write('f.dcm', dicom_files.content(dicom_files.multi_frame(
        np.zeros((2, 3, 3), np.int16), [(0, 0, 0), (0, 0, 1)],
        series='1.2.3')))
    cases = self._cases()
    output = self._write({key: case._replace(read_labels=lambda case=case: {
        'mask': np.ones(case.shape, np.uint8)}) for key, case in cases.items()})
    objects = sorted((output / 'segmentations').iterdir())
    self.assertEqual([p.name for p in objects], ['f.dcm', 'p.dcm'])
    for path in objects:
      self.assertNotIn(_MARK.encode(), path.read_bytes())
      data = pydicom.dcmread(path)
      for name in ('PatientName', 'PatientID', 'PatientBirthDate', 'StudyDate'):
        self.assertEqual(str(data[name].value or ''), '', name)

  def test_stacks_of_one_series_share_an_object(self):
    """What nobody has annotated in it is unlabelled."""
    for k in (0, 1, 2, 6, 7, 8):
      self.write(f'p/{k}.dcm', dicom_files.content(dicom_files.ct_slice(
          np.zeros((3, 3), np.int16), (0, 0, 2 * k), instance=k)))
    cases = self._cases()
    self.assertEqual(list(cases), ['0', '6'])
    label = np.zeros((3, 3, 3), np.uint8)
    label[1, 1, 1] = 2
    output = self._write(cases | {'0': cases['0']._replace(
        read_labels=lambda: {'mask': label})})
    self.assertLen(list((output / 'segmentations').iterdir()), 1)
    back = volume_round_trips.read(
        'dicom_seg', output, formats.Options(classes=_CLASSES))
    self.assertEqual(list(back.cases), ['0', '6'])
    np.testing.assert_array_equal(back.labels['0']['mask'], label)
    self.assertTrue((back.labels['6']['mask'] == 255).all())

  def test_a_series_of_several_orientations(self):
    """Each orientation has an object, and these are read back."""
    cases = self._two_orientations()
    labels = {name: np.zeros(case.shape, np.uint8)
              for name, case in cases.items()}
    labels['0'][1, 1, 1], labels['5'][0, 2, 1] = 1, 2
    output = self._write({key: case._replace(
        read_labels=lambda key=key: {'mask': labels[key]})
                          for key, case in cases.items()})
    self.assertEqual(
        sorted(p.name for p in (output / 'segmentations').iterdir()),
        ['0.dcm', '5.dcm'])
    back = volume_round_trips.read(
        'dicom_seg', output, formats.Options(classes=_CLASSES))
    self.assertEqual(list(back.cases), ['0', '5'])
    for name, label in labels.items():
      np.testing.assert_array_equal(back.labels[name]['mask'], label)

  def test_a_series_with_a_gap(self):
    """Each part has an object, and the other's does not count for it."""
    for k in (0, 1, 2, 6, 7):
      self.write(f'p/{k}.dcm', dicom_files.content(dicom_files.ct_slice(
          np.zeros((3, 3), np.int16), (0, 0, 2 * k), instance=k)))
    cases, labels = self._cases(), {}
    self.assertEqual(list(cases), ['0', '6'])
    for value, (name, case) in enumerate(cases.items(), start=1):
      labels[name] = np.zeros(case.shape, np.uint8)
      labels[name][value, 1, 0] = value
    output = self._write({key: case._replace(
        read_labels=lambda key=key: {'mask': labels[key]})
                          for key, case in cases.items()})
    back = volume_round_trips.read(
        'dicom_seg', output, formats.Options(classes=_CLASSES))
    self.assertEqual(list(back.cases), ['0', '6'])
    for name, label in labels.items():
      np.testing.assert_array_equal(back.labels[name]['mask'], label)

  def test_one_of_several_orientations_is_drawn(self):
    """The other one has no label, and is not background."""
    cases = self._two_orientations()
    label = np.zeros(cases['5'].shape, np.uint8)
    label[2, 1, 0] = 1
    output = self._write(cases | {'5': cases['5']._replace(
        read_labels=lambda: {'mask': label})})
    back = volume_round_trips.read(
        'dicom_seg', output, formats.Options(classes=_CLASSES))
    np.testing.assert_array_equal(back.labels['5']['mask'], label)
    self.assertEqual(back.labels['0'], {})

  def test_files_of_several_frames_in_one_series(self):
    labels = {}
    for k, name in enumerate(('e', 'f')):
      data = dicom_files.multi_frame(
          np.zeros((2, 3, 3), np.int16), [(0, 0, 9 * k), (0, 0, 9 * k + 1)])
      data.SOPInstanceUID = f'1.2.{k}'
      self.write(f'{name}.dcm', dicom_files.content(data))
      labels[name] = np.zeros((3, 3, 2), np.uint8)
      labels[name][k, 1, k] = k + 1
    output = self._write({key: case._replace(
        read_labels=lambda key=key: {'mask': labels[key]})
                          for key, case in self._cases().items()})
    back = volume_round_trips.read(
        'dicom_seg', output, formats.Options(classes=_CLASSES))
    for name, label in labels.items():
      np.testing.assert_array_equal(back.labels[name]['mask'], label)

  def _two_orientations(self):
    """Writes a series of three axial and two coronal slices."""
    for k in range(5):
      orientation = (1, 0, 0, 0, 1, 0) if k < 3 else (1, 0, 0, 0, 0, -1)
      position = (0, 0, 2 * k) if k < 3 else (0, 2 * k, 9)
      self.write(f'p/{k if k < 3 else k + 2}.dcm', dicom_files.content(
          dicom_files.ct_slice(np.zeros((3, 3), np.int16), position,
                               instance=k, orientation=orientation)))
    cases = self._cases()
    self.assertEqual(list(cases), ['0', '5'])
    return cases

  def test_each_annotator_has_a_folder(self):
    cases = self._write_series()
    case = cases['p']._replace(read_labels=lambda: {
        'mask': np.zeros(cases['p'].shape, np.uint8)})
    output = self._write({name: case._replace(
        id=f'p@{name}', annotator=name) for name in ('anna', 'ben')})
    self.assertTrue((output / 'segmentations/anna/p.dcm').exists())
    self.assertTrue((output / 'segmentations/ben/p.dcm').exists())
    back = volume_round_trips.read('dicom_seg', output, formats.Options(
        classes=_CLASSES, mask_folders=('anna',)))
    self.assertEqual(list(back.cases), ['p'])

  @parameterized.parameters('StudyInstanceUID', 'SOPInstanceUID')
  def test_a_slice_without_a_uid(self, name):
    data = dicom_files.ct_slice(np.zeros((3, 3), np.int16), (0, 0, 0))
    content = dicom_files.content(data)
    delattr(data, name)
    data.file_meta.MediaStorageSOPInstanceUID = '1.2.3'
    self.write('p/a.dcm', dicom_files.content(data))
    del content
    cases = self._cases()
    label = {key: {'mask': np.zeros(case.shape, np.uint8)}
             for key, case in cases.items()}
    with self.assertRaisesRegex(pixels.WrongFile, f'no {name}; a.dcm'):
      self._write(self._cases(label))

  def test_frames_of_few_pixels(self):
    cases = self._write_series(shape=(1, 7))
    label = {key: {'mask': np.zeros(case.shape, np.uint8)}
             for key, case in cases.items()}
    with self.assertRaisesRegex(pixels.WrongFile, 'fewer than 8 pixels'):
      self._write(self._cases(label))


if __name__ == '__main__':
  absltest.main()
