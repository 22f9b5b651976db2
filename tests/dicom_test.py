"""Tests of data_prep.formats.dicom and dicom_objects: pictures and privacy.

The names of tests begin with the number in the list of bad inputs.
"""

import io
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep.formats import dicom
from data_prep.formats import dicom_objects
from data_prep.formats import registry
from data_prep.shared import pixels
from experiments import binary
from experiments.prediction import input_files
import numpy as np
import pydicom

from tests import forked
from tests.damage import seed_sets

_STORAGE = '1.2.840.10008.5.1.4.1.1.'
_SEG, _RTSTRUCT, _SR = (f'{_STORAGE}{n}' for n in ('66.4', '481.3', '88.33'))


def _dicom(**tags):
  """Returns a DICOM file with these tags; a tag that is None is removed."""
  data = pydicom.dcmread(io.BytesIO(seed_sets.dicom(
      seed_sets.picture(0)[..., 0].astype(np.int32) * 9)))
  for name, value in tags.items():
    if value is None:
      del data[name]
    else:
      setattr(data, name, value)
  content = io.BytesIO()
  data.save_as(content)
  return content.getvalue()


def _object(class_uid=None, modality=None, *, in_meta=True):
  """Returns a DICOM file without pixels, whose type is given or left out."""
  data = pydicom.Dataset()
  data.file_meta = pydicom.dataset.FileMetaDataset()
  data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
  data.preamble = bytes(128)
  data.PatientName = 'ZZMARKZZ'
  if modality:
    data.Modality = modality
  if class_uid:
    data.SOPClassUID = class_uid
    if in_meta:
      data.file_meta.MediaStorageSOPClassUID = class_uid
  content = io.BytesIO()
  data.save_as(content)
  return content.getvalue()


class DicomTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'a.dcm'

  def _read(self, **tags):
    self.path.write_bytes(_dicom(**tags))
    return dicom.read_dicom(self.path)

  def test_rescale_and_spacing(self):
    array, spacing = self._read()
    np.testing.assert_array_equal(
        array, 2.0 * 9 * seed_sets.picture(0)[..., 0] - 100)
    self.assertEqual(spacing, (0.5, 0.75))

  def test_monochrome1_is_inverted(self):
    bright, _ = self._read()
    dark, _ = self._read(PhotometricInterpretation='MONOCHROME1')
    np.testing.assert_array_equal(dark - dark.min(), bright.max() - bright)

  @parameterized.named_parameters(
      ('no_pixels', {'PixelData': None}, 'no PixelData'),
      ('no_rows', {'Rows': None}, 'no Rows'),
      ('20_bomb', {'Rows': 65535, 'Columns': 65535}, 'as many as the header'),
      ('21_frames', {'NumberOfFrames': 3}, 'of several frames'),
      ('upper_bits', {'HighBit': 15}, 'HighBit is not BitsStored - 1'),
      ('24_spacing', {'PixelSpacing': ['0', '1']}, 'spacing is not above 0'),
      ('29_slope', {'RescaleSlope': 'nan'}, 'not finite'),
      ('29_slope_0', {'RescaleSlope': '0'}, 'RescaleSlope is 0'),
      ('30_palette', {'PhotometricInterpretation': 'PALETTE COLOR'},
       'expected MONOCHROME1, MONOCHROME2 or RGB'),
  )
  def test_bad(self, tags, expected):
    with self.assertRaises(pixels.WrongFile) as caught:
      self._read(**tags)
    self.assertIn(expected, ' '.join(caught.exception.args))

  def test_compressed(self):
    data = pydicom.dcmread(io.BytesIO(_dicom()))
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.PixelData = pydicom.encaps.encapsulate([b'x' * 64])
    data['PixelData'].is_undefined_length = True
    data.save_as(self.path)
    with self.assertRaises(pixels.WrongFile) as caught:
      dicom.read_dicom(self.path)
    self.assertIn('compressed', ' '.join(caught.exception.args))

  def test_no_tag_of_a_patient_leaves(self):
    """Tests that no message or file repeats the text of a patient's tags."""
    mark = 'ZZMARKZZ'
    texts = dict(
        PatientName=f'{mark}^A', PatientAddress=mark, StudyDescription=mark,
        InstitutionName=mark, AccessionNumber=mark, ImageComments=mark,
        OperatorsName=mark, SeriesDescription=mark, DeviceSerialNumber=mark,
        PatientBirthDate=mark, StudyDate=mark, PatientAge=mark)
    source = self.folder / 'source'
    for i in range(8):
      masks, images = source / 'masks', source / 'images'
      for parent in (masks, images):
        parent.mkdir(parents=True, exist_ok=True)
      (masks / f'{i}.png').write_bytes(
          seed_sets.encode(seed_sets.label(i % 3), 'PNG'))
      rng = np.random.default_rng(i)
      (images / f'{i}.dcm').write_bytes(_dicom(
          PatientID=f'{mark}{i}',
          PixelData=rng.integers(0, 4000, (20, 24), np.uint16).tobytes(),
          **texts, **({'Rows': 99} if i == 7 else {})))
    prepare = lambda: forked.run(
        'data_prep.prepare', f'--source={source}',
        f'--output={self.folder}/out', '--strong_fraction=0.5',
        '--split_fractions=0.6,0.2,0.2', '--simulate=box', '--image_size=16')
    refused = prepare()
    self.assertEqual(refused.returncode, 2)
    self.assertIn('7.dcm', refused.stderr)
    self.assertNotIn(mark, refused.stdout + refused.stderr)
    os.remove(source / 'images/7.dcm')
    os.remove(source / 'masks/7.png')
    done = prepare()
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertNotIn(mark, done.stdout + done.stderr)
    files = [p for p in (self.folder / 'out').rglob('*') if p.is_file()]
    self.assertGreater(len(files), 10)
    for path in files:
      self.assertNotIn(mark.encode(), path.read_bytes(), path)


class DicomObjectsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def _write(self, files):
    for name, content in files.items():
      path = self.folder / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)

  def _read(self, name='folder'):
    output = self.enterContext(tempfile.TemporaryDirectory())
    return registry.read(
        name, self.folder, pathlib.Path(output), formats.Options())

  @parameterized.parameters(
      ('66.4', 'SEG'), ('66.7', 'SEG'), ('66.5', 'SEG'), ('66.1', 'REG'),
      ('481.3', 'RTSTRUCT'), ('481.2', 'RTDOSE'), ('481.5', 'RTPLAN'),
      ('481.1', None), ('11.1', 'PR'), ('88.59', 'KO'), ('88.11', 'SR'),
      ('91.1', 'ANN'), ('104.1', 'DOC'), ('9.1.1', 'ECG'), ('4.2', 'MRS'),
      ('1', None), ('1.1', None), ('2', None), ('2.1', None), ('4', None),
      ('4.4', None), ('6.1', None), ('7', None), ('12.1', None), ('128', None),
      ('77.1.1', None), ('20', None))
  def test_class(self, class_uid, expected):
    self._write({'a.dcm': _object(_STORAGE + class_uid)})
    self.assertEqual(dicom.object_name(self.folder / 'a.dcm'), expected)

  @parameterized.parameters(
      (_object(_SEG, in_meta=False), 'SEG'), (_object(None, 'SR'), 'SR'),
      (_object(None, 'CT'), None), (_object('1.2.826.0.1', 'PR'), None),
      (_object('1.2.840.10008.1.3.10'), 'DICOMDIR'), (_dicom(), None),
      (b'DICM', None), (b'', None))
  def test_odd(self, content, expected):
    self._write({'a.dcm': content})
    self.assertEqual(dicom.object_name(self.folder / 'a.dcm'), expected)

  def test_beside_pictures_they_are_counted(self):
    self._write({
        'a.dcm': _dicom(), 'b.dcm': _dicom(), 'DICOMDIR': _object(
            '1.2.840.10008.1.3.10'), 's1.dcm': _object(_SEG),
        's2.dcm': _object(_SEG), 'report': _object(_SR),
        'r.dcm': _object(_RTSTRUCT)})
    imported = self._read()
    self.assertEqual([row.id for row in imported.rows], ['a', 'b'])
    self.assertEqual(imported.problems, [])
    self.assertIn(
        '5 DICOM files without a picture (DICOMDIR 1, RTSTRUCT 1, SEG 2, '
        'SR 1) are not read: --format=rtstruct reads RTSTRUCT, '
        '--format=dicom_seg reads SEG',
        imported.notices)
    self.assertNotIn('ZZMARKZZ', str(imported))
    found = input_files.find_inputs(str(self.folder))
    self.assertEqual(found.names, ('a.dcm', 'b.dcm'))

  def test_beside_listed_pictures_they_are_not_unlabelled(self):
    self._write({'a.dcm': _dicom(), 's.dcm': _object(_SR), 'l.json': (
        b'{"images": [{"id": 1, "file_name": "a.dcm", "height": 20, "width": '
        b'24}], "annotations": [], "categories": [{"id": 1, "name": "t"}]}')})
    imported = self._read('coco')
    self.assertEqual([row.id for row in imported.rows], ['a'])
    self.assertIn('1 DICOM file without a picture (SR 1) is not read',
                  imported.notices)

  def test_nothing_but_objects(self):
    self._write({'s1.dcm': _object(_SEG), 's2.dcm': _object(_RTSTRUCT)})
    problem, = self._read().problems
    self.assertIn('there is no picture, only DICOM files without one, found '
                  'RTSTRUCT 1, SEG 1', str(problem))
    with self.assertRaisesRegex(binary.UserError, r'RTSTRUCT 1, SEG 1'):
      input_files.find_inputs(str(self.folder))

  def test_objects_in_place_of_masks(self):
    self._write({'images/a.dcm': _dicom(), 'masks/a.dcm': _object(_SEG)})
    imported = self._read()
    self.assertEqual([row.role for row in imported.rows], ['unlabelled'])
    self.assertIn('(SEG 1) is not read: --format=dicom_seg',
                  ' '.join(imported.notices))

  def test_read_as_a_picture(self):
    self._write({'a.dcm': _object(_SEG), 'b.dcm': _object(_SR)})
    with self.assertRaises(pixels.WrongFile) as caught:
      dicom.read_dicom(self.folder / 'a.dcm')
    self.assertEqual(caught.exception.args, (
        'a DICOM segmentation object (SEG), not a picture', 'a.dcm',
        'prepare reads it with --format=dicom_seg'))
    with self.assertRaises(pixels.WrongFile) as caught:
      dicom.read_dicom(self.folder / 'b.dcm')
    self.assertIn('without a picture (SR)', caught.exception.what)

  def test_only_what_may_be_dicom_is_looked_into(self):
    self._write({'a.png': _object(_SEG), 'b': _object(_SEG)})
    found = dicom_objects.find(self.folder, ('a.png', 'b'))
    self.assertEqual(found, (('a.png',), {'b': 'SEG'}))


if __name__ == '__main__':
  absltest.main()
