"""Tests for data_prep.formats.volumes and nifti: headers and compression.

The name of a test case contains its number in the list of bad inputs.
"""

import gzip
import pathlib
import tempfile
import warnings

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.formats import nifti
from data_prep.formats import registry
from data_prep.formats import volumes
from data_prep.shared import pixels
import nibabel
import numpy as np
from PIL import Image

from tests.damage import seed_sets

_SHAPE = (20, 24, 3)
_AFFINE = np.diag([0.8, 0.9, 5.0, 1.0])


def _voxels(dtype=np.int16):
  return np.random.default_rng(0).integers(0, 200, _SHAPE).astype(dtype)


def _labels(dtype=np.uint8):
  return np.stack([seed_sets.label(k) for k in range(3)], -1).astype(dtype)


def _extension(content, code=0):
  return nibabel.nifti1.Nifti1Extension(code, content)


def _nifti(array=None, affine=_AFFINE, form=nibabel.Nifti1Image, extensions=(),
           **header):
  """Returns the bytes of a NIfTI file; `header` may hold wrong values."""
  array = _voxels() if array is None else array
  volume = form(array, affine)
  volume.header.extensions.extend(extensions)
  content = bytearray(volume.to_bytes())
  raw = np.frombuffer(content, volume.header.structarr.dtype, count=1)
  for name, value in header.items():
    raw[name] = value  # `raw` is a view of `content`.
  return bytes(content)


def _dims(*dims):
  return (len(dims), *dims) + (1,) * (7 - len(dims))


def _pixdim(*spacing):
  return (1.0, *spacing, 1.0, 1.0, 1.0, 1.0)


def _without_forms(**header):
  return _nifti(sform_code=0, qform_code=0, **header)


def _flipped_gzip():
  content = bytearray(gzip.compress(_nifti(_voxels(np.float32))))
  content[-6] ^= 1  # This byte of the CRC is not read by nibabel.
  return bytes(content)


_BAD = (
    ('04_empty', 'v.nii', b'', 'empty, 0 bytes'),
    ('05_truncated_gzip', 'v.nii.gz', gzip.compress(_nifti())[:-300],
     'the gzip is damaged'),
    ('06_flipped_gzip', 'v.nii.gz', _flipped_gzip(), 'CRC'),
    ('07_wrong_extension', 'v.nii', seed_sets.encode(
        seed_sets.picture(0), 'PNG'), 'it is not NIfTI'),
    ('08_no_nifti', 'v.nii.gz', b'PK' + _nifti(), 'it is not NIfTI'),
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
    ('29_infinite_slope', 'v.nii', _nifti(scl_slope=np.inf), 'not finite'),
    ('29_nan_intercept', 'v.nii', _nifti(scl_slope=2, scl_inter=np.nan),
     'not finite'),
    ('offset_in_header', 'v.nii', _nifti(vox_offset=0), 'vox_offset is not'),
    ('offset_nan', 'v.nii', _nifti(vox_offset=np.nan), 'vox_offset is not'),
    ('offset_huge', 'v.nii', _nifti(vox_offset=2**30), 'vox_offset is not'),
    ('offset_beyond', 'v.nii', _nifti(vox_offset=4000),
     'shorter than its header says'),
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
    with self.assertRaises(pixels.WrongFile) as again:
      volumes.open_nifti(path)
    if 'MiB' not in what:  # The limits differ.
      self.assertEqual(again.exception.args, caught.exception.args)
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
      ('29_nan_slope', _nifti(scl_slope=np.nan, scl_inter=np.nan)),
      ('extension', _nifti(extensions=[_extension(b'x' * 100_000)])),
      ('extension_of_two', _nifti(
          form=nibabel.Nifti2Image, extensions=[_extension(b'x' * 3000)])),
      ('extension_of_no_size', _nifti()[:348] + b'\1\0\0\0' + _nifti()[352:]),
      ('gap', _nifti(vox_offset=1376)[:352] + bytes(1024) + _nifti()[352:]),
      ('offset_is_cut_to_a_whole_number', _nifti(vox_offset=352.5)),
      ('gzip_of_two_members',
       gzip.compress(_nifti()[:900]) + gzip.compress(_nifti()[900:])),
      ('metres', _nifti(
          affine=np.diag([0.8e-3, 0.9e-3, 5e-3, 1]), xyzt_units=1)),
      ('micrometres', _nifti(
          affine=np.diag([800.0, 900, 5000, 1]), xyzt_units=3)),
      ('template_space', _nifti(
          sform_code=4, qform_code=1, qoffset_x=30, quatern_b=0, quatern_c=0,
          quatern_d=0, pixdim=_pixdim(0.8, 0.9, 5))),
  )
  def test_odd_but_valid(self, content):
    volume = volumes.read_nifti(self._write('v.nii', content))
    np.testing.assert_array_equal(volume.voxels, _voxels())
    np.testing.assert_allclose(volume.spacing_mm, (0.8, 0.9, 5.0), rtol=1e-6)
    left = volumes.open_nifti(self.folder / 'v.nii')
    self.assertEqual(left.voxels.dtype, volume.voxels.dtype)
    np.testing.assert_array_equal(left.voxels, volume.voxels)
    self.assertEqual(left[2:4], volume[2:4])
    np.testing.assert_array_equal(left.affines, volume.affines)

  def test_named_gz_but_not_zipped(self):
    volume = volumes.read_nifti(self._write('v.nii.gz', _nifti()))
    np.testing.assert_array_equal(volume.voxels, _voxels())

  @parameterized.named_parameters(
      ('nan_slope', _nifti(scl_slope=np.nan), 'read unscaled'),
      ('units', _nifti(xyzt_units=3), 'micrometres'),
      ('template_space', _nifti(
          sform_code=4, qform_code=1, qoffset_x=30, quatern_b=0, quatern_c=0,
          quatern_d=0, pixdim=_pixdim(0.8, 0.9, 5)), 'of different spaces'))
  def test_notices(self, content, expected):
    notice, = volumes.read_nifti(self._write('v.nii', content)).notices
    self.assertIn(expected, notice)
    self.assertEqual(
        volumes.read_nifti(self._write('v.nii', _nifti())).notices, ())

  def test_signalling_nan_is_no_warning(self):
    content = bytearray(_without_forms())
    content[80:84] = b'\x01\x00\x80\x7f'  # pixdim[1], float32.
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      with self.assertRaises(pixels.WrongFile) as caught:
        volumes.read_nifti(self._write('v.nii', bytes(content)))
    self.assertIn('a spacing is not above 0', caught.exception.what)

  def test_zipped_and_scaled(self):
    content = gzip.compress(_nifti(scl_slope=2, scl_inter=-100))
    volume = volumes.read_nifti(self._write('v.nii.gz', content))
    np.testing.assert_array_equal(volume.voxels, 2.0 * _voxels() - 100)
    left = volumes.open_nifti(self.folder / 'v.nii.gz', folder=self.folder)
    np.testing.assert_array_equal(
        left.voxels[2:5, :, 1:], 2.0 * _voxels()[2:5, :, 1:] - 100)
    self.assertEqual(left.voxels.dtype, np.float32)
    self.assertEqual([p.name for p in self.folder.iterdir()], ['v.nii.gz'])

  def _read_set(self, image, labels, **options):
    self._write('images/v.nii.gz', gzip.compress(image))
    self._write('labels/v.nii.gz', gzip.compress(labels))
    return registry.read(
        'nifti', self.folder, self.folder, formats.Options(**options))

  @parameterized.named_parameters(
      ('25_spacing', _nifti(_labels(), np.diag([0.8, 0.9, 2.5, 1.0])),
       'the spacing of the labels'),
      ('26_origin', _nifti(_labels(), _AFFINE + 30 * np.eye(4, k=3)),
       'the origin of the labels'),
      ('27_direction', _nifti(_labels(), _AFFINE * [-1, 1, 1, 1]),
       'the direction of the labels'),
      ('42_slice_counts', _nifti(_labels()[..., :2]),
       'the size of the labels is not that of their image'),
      ('51_negative', _nifti(-_labels(np.int16)), 'negative'),
      ('56_fractions', _nifti(_labels(np.float32) / 2), 'fractions'),
      ('43_nan', _nifti(np.where(_labels(), np.nan, 0)), 'not finite'),
      ('50_many', _nifti(300 * _labels(np.int16)), 'hardly class numbers'),
  )
  def test_bad_labels(self, labels, expected):
    imported = self._read_set(_nifti(), labels)
    problem, = imported.problems
    self.assertIn(expected, str(problem))
    self.assertEqual(imported.rows, [])

  @parameterized.named_parameters(
      *((''.join(axes), axes) for axes in ('LPS', 'RAI', 'SRA', 'PIL')))
  def test_labels_of_another_order_are_turned(self, axes):
    image = nibabel.Nifti1Image(_labels(), _AFFINE + 30 * np.eye(4, k=3))
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine),
        nibabel.orientations.axcodes2ornt(axes))
    other = image.as_reoriented(turn)
    self.assertNotEqual(other.affine.tolist(), image.affine.tolist())
    # Affines may differ by the rounding of other tools.
    affine = other.affine + 1e-4
    affine[3] = 0, 0, 0, 1
    imported = self._read_set(
        _nifti(affine=image.affine), _nifti(np.asarray(other.dataobj), affine))
    self.assertEqual(imported.problems, [])
    for k, row in enumerate(imported.rows):
      np.testing.assert_array_equal(
          np.asarray(Image.open(self.folder / row.annotation['path'])),
          _labels()[..., k])
    self.assertIn('turned to its grid: 1 file,', ' '.join(imported.notices))

  @parameterized.named_parameters(
      ('flipped_but_elsewhere', _AFFINE * [-1, 1, 1, 1]),
      ('half_a_voxel', _AFFINE + 0.4 * np.eye(4, k=3)),
      ('oblique', _AFFINE @ np.array([
          [0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
      ('turned_and_moved_by_a_voxel', np.diag([-0.8, 0.9, 5, 1]) + [
          [0, 0, 0, 0.8 * 20], [0] * 4, [0] * 4, [0] * 4]))
  def test_labels_of_another_grid_are_refused(self, affine):
    problem, = self._read_set(_nifti(), _nifti(_labels(), affine)).problems
    self.assertIn('of the labels is not that of their image', str(problem))
    self.assertIn('resample to the grid of the image', str(problem))

  def test_labels_that_lost_the_unit_or_the_template(self):
    affine = np.diag([800.0, 900, 5000, 1])
    imported = self._read_set(
        _nifti(affine=affine, xyzt_units=3), _nifti(_labels(), affine))
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.rows[0].spacing_mm, (0.8, 0.9))
    moved = dict(quatern_b=0, quatern_c=0, quatern_d=0, qoffset_x=30,
                 pixdim=_pixdim(0.8, 0.9, 5))
    labels = _nifti(_labels(), sform_code=0, qform_code=1, **moved)
    imported = self._read_set(
        _nifti(sform_code=4, qform_code=1, **moved), labels)
    self.assertEqual(imported.problems, [])

  @parameterized.parameters(np.uint8, np.int16)
  def test_whole_numbers_that_a_scale_has_blurred(self, dtype):
    """Labels that nibabel has saved as scaled integers are rounded.

    It scales floats that are saved with the header of an integer image.
    """
    labels = _labels(np.float64) * 3 + (_labels() == 0)  # 1, 3, 6, ...
    labels[0, 0] = 7
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    content = nibabel.Nifti1Image(labels, _AFFINE, header).to_bytes()
    stored = nibabel.Nifti1Image.from_bytes(content).get_fdata()
    self.assertGreater(abs(stored - labels).max(), 1e-5)
    imported = self._read_set(_nifti(), content)
    self.assertEqual(imported.problems, [])
    np.testing.assert_array_equal(
        np.asarray(Image.open(
            self.folder / imported.rows[0].annotation['path'])),
        labels[..., 0])

  def test_probabilities_are_no_labels(self):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    content = nibabel.Nifti1Image(
        np.random.default_rng(0).random(_SHAPE), _AFFINE, header).to_bytes()
    problem, = self._read_set(_nifti(), content).problems
    self.assertIn('labels hold fractions', str(problem))

  def test_a_damaged_label_file_is_named_and_not_its_image(self):
    self._write('labels/v.nii', _nifti(_labels())[:-40])
    self._write('images/v.nii', _nifti())
    refused = registry.read(
        'nifti', self.folder, self.folder, formats.Options())
    self.assertStartsWith(str(refused.problems[0]), 'labels/v.nii: the file is')
    self.assertEndsWith(
        str(refused.problems[0]), 'or --leave_out=defective')
    for name in ('defective', '@v.nii', '@labels/v.nii', '@v'):
      imported = registry.read(
          'nifti', self.folder, self.folder, formats.Options(
          leave_out=frozenset([name])))
      self.assertEqual(imported.problems, [])
      self.assertEqual([entry.name for entry in imported.left_out],
                       ['labels/v.nii'])

  def test_threshold_and_values_that_are_no_class(self):
    imported = self._read_set(
        _nifti(), _nifti(_labels(np.float32) / 2), mask_threshold=0.5)
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'foreground'))
    imported = self._read_set(
        _nifti(), _nifti(_labels(np.int16) - 1),
        mask_values={'-1': 255, '0': 0, '1': 1})
    self.assertEqual(imported.problems, [])

  def test_0_and_255_is_a_class(self):
    imported = self._read_set(
        _nifti(), _nifti((_labels() > 0).astype(np.uint8) * 255))
    self.assertEqual(imported.classes, ('background', 'foreground'))
    label = np.asarray(Image.open(
        self.folder / imported.rows[0].annotation['path']))
    np.testing.assert_array_equal(label, _labels()[..., 0] > 0)

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

  def test_slices_that_are_hardly_labelled_are_weak_and_stay_so(self):
    """A slice with few labelled pixels is no exact mask, also after export."""
    labels = _labels()
    labels[5:, :, 1] = 255
    labels[18:, :, 2] = 255  # Unlabelled border.
    imported = self._read_set(_nifti(), _nifti(labels))
    kinds = ['mask', 'scribble', 'mask']
    self.assertEqual([r.annotation['kind'] for r in imported.rows], kinds)
    output = self.folder / 'again'
    nifti.write(manifest_lib.Manifest(
        manifest_lib.Header('v', imported.classes), tuple(imported.rows),
        self.folder), output)
    again = registry.read('nifti', output, output, formats.Options())
    self.assertEqual([r.annotation['kind'] for r in again.rows], kinds)
    for one, two in zip(imported.rows, again.rows, strict=True):
      np.testing.assert_array_equal(
          *(np.asarray(Image.open(folder / row.annotation['path']))
            for folder, row in ((self.folder, one), (output, two))))

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
