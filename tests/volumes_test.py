"""Tests of data_prep.formats.volumes and nifti: headers and gzip.

Cases are named by their number in the list of bad inputs.
"""

import gzip
import pathlib
import tempfile
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import pixels
from data_prep.benchmarks import seed_sets
from data_prep.formats import nifti
from data_prep.formats import volumes
import nibabel
import numpy as np
from PIL import Image

_SHAPE = (20, 24, 3)
_AFFINE = np.diag([0.8, 0.9, 5.0, 1.0])


def _voxels(dtype=np.int16):
  return np.random.default_rng(0).integers(0, 200, _SHAPE).astype(dtype)


def _labels(dtype=np.uint8):
  return np.stack([seed_sets.label(k) for k in range(3)], -1).astype(dtype)


def _nifti(array=None, affine=_AFFINE, form=nibabel.Nifti1Image, **header):
  """Returns a file; `header` fields are set as they are, right or wrong."""
  array = _voxels() if array is None else array
  volume = form(array, affine)
  content = bytearray(volume.to_bytes())
  raw = np.frombuffer(content, volume.header.structarr.dtype, count=1)
  for name, value in header.items():
    raw[name] = value  # A view of the bytes.
  return bytes(content)


def _dims(*dims):
  return (len(dims), *dims) + (1,) * (7 - len(dims))


def _pixdim(*spacing):
  return (1.0, *spacing, 1.0, 1.0, 1.0, 1.0)


def _without_forms(**header):
  return _nifti(sform_code=0, qform_code=0, **header)


def _flipped_gzip():
  content = bytearray(gzip.compress(_nifti(_voxels(np.float32))))
  content[-6] ^= 1  # Of the CRC: nibabel does not read so far.
  return bytes(content)


_BAD = (
    ('04_empty', 'v.nii', b'', 'empty, 0 bytes'),
    ('05_truncated_gzip', 'v.nii.gz', gzip.compress(_nifti())[:-300],
     'the gzip is damaged'),
    ('06_flipped_gzip', 'v.nii.gz', _flipped_gzip(), 'CRC'),
    ('07_wrong_extension', 'v.nii', seed_sets.encode(
        seed_sets.picture(0), 'PNG'), 'it is no NIfTI'),
    ('08_no_gzip', 'v.nii.gz', _nifti(), 'named .gz, but it is not gzip'),
    ('19_zero_dimension', 'v.nii', _nifti(dim=_dims(20, 0, 3)),
     'an axis of length below 1'),
    ('19_negative_dimension', 'v.nii', _nifti(dim=_dims(20, -24, 3)),
     'an axis of length below 1'),
    ('19_no_axis', 'v.nii', _nifti(dim=(0,) + (1,) * 7),
     'impossible number of axes'),
    ('20_giant_dimension', 'v.nii', _nifti(dim=_dims(32767, 32767, 32767)),
     'declares more than 256 MiB'),
    ('21_four_axes', 'v.nii', _nifti(np.zeros((4, 4, 4, 2), np.int16)),
     'expected three axes, found v.nii: 4 x 4 x 4 x 2'),
    ('22_singular_affine', 'v.nii', _nifti(
        srow_x=(1, 1, 0, 0), srow_y=(1, 1, 0, 0), sform_code=1),
     'the affine is singular'),
    ('22_empty_affine', 'v.nii', _nifti(
        srow_x=0, srow_y=0, srow_z=0, sform_code=1), 'singular'),
    ('23_nan_affine', 'v.nii', _nifti(srow_x=(np.nan, 0, 0, 0)),
     'the affine is not finite'),
    ('24_zero_spacing', 'v.nii', _without_forms(pixdim=_pixdim(1, 0, 1)),
     'a spacing is not above 0'),
    ('24_negative_spacing', 'v.nii', _nifti(
        qform_code=1, pixdim=_pixdim(1, -1, 1)), 'a spacing is not above 0'),
    ('28_forms_disagree', 'v.nii', _nifti(
        qform_code=1, sform_code=1, quatern_b=0, quatern_c=0, quatern_d=0,
        pixdim=_pixdim(3, 3, 3)), 'qform and sform disagree'),
    ('29_nan_slope', 'v.nii', _nifti(scl_slope=np.nan), 'not finite'),
    ('29_infinite_intercept', 'v.nii', _nifti(scl_slope=1, scl_inter=np.inf),
     'not finite'),
    ('30_complex', 'v.nii', _nifti(_voxels(np.complex64)),
     'expected voxels that are real numbers'),
    ('30_rgb', 'v.nii', _nifti(np.zeros(_SHAPE, [
        ('R', 'u1'), ('G', 'u1'), ('B', 'u1')])),
     'expected voxels that are real numbers'),
    ('30_unknown_type', 'v.nii', _nifti(datatype=99), 'unknown type of voxels'),
    ('90_short', 'v.nii', _nifti()[:-40], 'shorter than its header says'),
)


class NiftiTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def _write(self, name, content):
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path

  @parameterized.named_parameters(*_BAD)
  def test_bad(self, name, content, expected):
    path = self._write(name, content)
    with self.assertRaises(pixels.WrongFile) as caught:
      volumes.read_nifti(path)
    what, found, fix = caught.exception.args
    self.assertIn(expected, f'{what}, found {found}')
    self.assertNotEmpty(fix)
    self.assertIn(name, f'{what} {found}')

  @parameterized.named_parameters(
      ('float_labels', _nifti(_voxels(np.float64))),
      ('31_big_endian', _nifti(_voxels('>i2'))),
      ('two', _nifti(form=nibabel.Nifti2Image)),
      ('fourth_axis_of_one', _nifti(_voxels()[..., None])),
      ('no_forms', _without_forms(pixdim=_pixdim(0.8, 0.9, 5))),
      ('slope_0_is_no_slope', _nifti(scl_slope=0, scl_inter=3)),
  )
  def test_odd_but_valid(self, content):
    volume = volumes.read_nifti(self._write('v.nii', content))
    np.testing.assert_array_equal(volume.voxels, _voxels())
    np.testing.assert_allclose(volume.spacing_mm, (0.8, 0.9, 5.0), rtol=1e-6)

  def test_signalling_nan_is_no_warning(self):
    content = bytearray(_without_forms())
    content[80:84] = b'\x01\x00\x80\x7f'  # pixdim[1], float32.
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      with self.assertRaises(pixels.WrongFile) as caught:
        volumes.read_nifti(self._write('v.nii', bytes(content)))
    self.assertIn('a spacing is not above 0', caught.exception.args[0])

  def test_zipped_and_scaled(self):
    content = gzip.compress(_nifti(scl_slope=2, scl_inter=-100))
    volume = volumes.read_nifti(self._write('v.nii.gz', content))
    np.testing.assert_array_equal(volume.voxels, 2.0 * _voxels() - 100)

  def _read_set(self, image, labels, **options):
    self._write('images/v.nii.gz', gzip.compress(image))
    self._write('labels/v.nii.gz', gzip.compress(labels))
    return nifti.read(
        self.folder, self.folder, options=formats.Options(**options))

  @parameterized.named_parameters(
      ('25_spacing', _nifti(_labels(), np.diag([0.8, 0.9, 2.5, 1.0])),
       'the spacing of the labels'),
      ('26_origin', _nifti(_labels(), _AFFINE + 30 * np.eye(4, k=3)),
       'the origin of the labels'),
      ('27_direction', _nifti(_labels(), _AFFINE * [-1, 1, 1, 1]),
       'the direction of the labels'),
      ('42_slice_counts', _nifti(_labels()[..., :2]),
       'of another size than their image'),
      ('51_negative', _nifti(-_labels(np.int16)), 'negative'),
      ('56_fractions', _nifti(_labels(np.float32) / 2), 'fractions'),
      ('43_nan', _nifti(np.where(_labels(), np.nan, 0)), 'not finite'),
      ('50_many', _nifti(300 * _labels(np.int16)), 'no class'),
  )
  def test_bad_labels(self, labels, expected):
    imported = self._read_set(_nifti(), labels)
    problem, = imported.problems
    self.assertIn(expected, str(problem))
    self.assertIn('images/v.nii.gz', str(problem))
    self.assertEqual(imported.rows, [])

  def test_slices(self):
    imported = self._read_set(
        _nifti(), _nifti(_labels(np.float64)),
        intensity_range=(0, 255), classes=seed_sets.CLASSES)
    self.assertEqual(imported.problems, [])
    self.assertEqual([r.id for r in imported.rows],
                     ['v_z000', 'v_z001', 'v_z002'])
    for k, row in enumerate(imported.rows):
      self.assertEqual(row.subject, 'v')
      self.assertEqual(row.spacing_mm, (0.8, 0.9))
      read = lambda path: np.asarray(Image.open(path))
      np.testing.assert_array_equal(
          read(self.folder / row.image), _voxels()[..., k])
      np.testing.assert_array_equal(
          read(self.folder / row.annotation['path']), _labels()[..., k])

  @parameterized.parameters(
      ((5.0, 0.9, 0.8), 'x'), ((0.8, 5.0, 0.9), 'y'), ((1.0, 1.0, 1.0), 'z'))
  def test_cut_along_the_largest_spacing(self, spacing, axis):
    imported = self._read_set(
        _nifti(affine=np.diag([*spacing, 1.0])),
        _nifti(_labels(), np.diag([*spacing, 1.0])))
    self.assertLen(imported.rows, _SHAPE['xyz'.index(axis)])
    self.assertEndsWith(imported.rows[0].id, f'{axis}000')


if __name__ == '__main__':
  absltest.main()
