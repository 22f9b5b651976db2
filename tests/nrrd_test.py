"""Tests of data_prep.formats.nrrd, nrrd_file and segments."""

import json
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import rasterize
from data_prep.formats import nrrd
from data_prep.formats import nrrd_file
from data_prep.formats import registry
from data_prep.formats import volumes
from data_prep.shared import pixels
import nibabel
import numpy as np

from tests import dicom_files
from tests import prepare_binary
from tests import source_case
from tests import volume_files

_SHAPE = (4, 5, 3)


def _array(dtype=np.int16):
  return np.arange(60, dtype=dtype).reshape(_SHAPE, order='F')


class NrrdFileTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))

  def _read(self, content, name='a.nrrd'):
    (self.folder / name).write_bytes(content)
    volume = nrrd_file.read_nrrd(self.folder / name)
    left = nrrd_file.read_nrrd(
        self.folder / name, is_lazy=True, folder=self.folder)
    np.testing.assert_array_equal(np.asarray(left.voxels), volume.voxels)
    np.testing.assert_array_equal(
        left.voxels[1:3, :, 2:], volume.voxels[1:3, :, 2:])
    self.assertEqual(left.voxels.dtype, volume.voxels.dtype)
    return volume

  @parameterized.parameters('raw', 'gzip', 'bzip2', 'ascii')
  def test_encodings(self, encoding):
    volume = self._read(volume_files.nrrd(_array(), encoding=encoding))
    self.assertEqual(volume.voxels[1, 2, 1], 1 + 4 * 2 + 20 * 1)
    np.testing.assert_array_equal(volume.voxels, _array())

  @parameterized.parameters('<i1', '<u1', '>i2', '<u2', '>i4', '<u8', '>f4',
                            '<f8')
  def test_types(self, dtype):
    volume = self._read(volume_files.nrrd(_array(np.dtype(dtype))))
    np.testing.assert_array_equal(volume.voxels, _array())
    self.assertTrue(volume.voxels.dtype.isnative)

  def test_directions_are_turned_to_right_front_top(self):
    volume = self._read(volume_files.nrrd(
        _array(), directions='(0,-0.5,0) (0.75,0,0) (0,0,2)',
        origin='(10,20,-30)'))
    # In LPS, voxel 0, 0, 0 is 10 mm left and 20 mm behind: x = y = minus that.
    np.testing.assert_allclose(volume.affine, [
        [0, -0.75, 0, -10], [0.5, 0, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1]])
    self.assertEqual(volume.spacing_mm, (0.5, 0.75, 2.0))

  @parameterized.parameters(
      ('right-anterior-superior', (1, 1, 1)), ('RAS', (1, 1, 1)),
      ('left-anterior-superior', (-1, 1, 1)), ('LPS', (-1, -1, 1)),
      ('scanner-xyz', (-1, -1, 1)))
  def test_spaces(self, space, signs):
    volume = self._read(volume_files.nrrd(_array(), space=space))
    np.testing.assert_allclose(
        np.diag(volume.affine)[:3], np.array(signs) * [1, 1, 2])
    self.assertEqual(bool(volume.notices), space == 'scanner-xyz')

  def test_without_space(self):
    volume = self._read(volume_files.nrrd(
        _array(), space='', fields='spacings: 0.5 0.5 3\n'))
    np.testing.assert_allclose(np.diag(volume.affine), [-0.5, -0.5, 3, 1])
    self.assertIn('states no directions', volume.notices[0])

  def test_units(self):
    volume = self._read(volume_files.nrrd(
        _array(), fields='space units: "m" "m" "m"\n'))
    self.assertEqual(volume.spacing_mm, (1000, 1000, 2000))

  def test_detached_header(self):
    for skip, start in ((0, b''), (-1, b'more')):
      (self.folder / 'a.raw').write_bytes(start + _array().tobytes('F'))
      header = volume_files.nrrd(
          _array(), fields=f'data file: a.raw\nbyte skip: {skip}\n')
      volume = self._read(header.partition(b'\n\n')[0], 'a.nhdr')
      np.testing.assert_array_equal(volume.voxels, _array())
    self.assertEqual(nrrd_file.data_files(self.folder / 'a.nhdr'), ('a.raw',))

  def test_axes_of_length_1_are_dropped(self):
    volume = self._read(volume_files.nrrd(
        _array()[None], directions='none (1,0,0) (0,1,0) (0,0,2)'))
    np.testing.assert_array_equal(volume.voxels, _array())

  def test_a_slice(self):
    volume = self._read(volume_files.nrrd(
        _array()[..., 0], directions='(1,0,0) (0,0,1)'))
    self.assertEqual(volume.voxels.shape, (4, 5, 1))
    np.testing.assert_allclose(volume.affine[:3, 2], [0, 1, 0])

  @parameterized.named_parameters(
      ('empty', b'', 'is empty, 0 bytes'),
      ('other', b'PK\3\4', 'is not NRRD'),
      ('short', volume_files.nrrd(_array())[:-1], 'shorter than its header'),
      ('short_gzip', volume_files.nrrd(_array(), encoding='gzip')[:-9],
       'damaged'),
      ('many', volume_files.nrrd(_array()).replace(
          b'sizes: 4 5 3', b'sizes: 99999 99999 99999'), 'more than 256 MiB'),
      ('negative', volume_files.nrrd(_array()).replace(
          b'sizes: 4 5 3', b'sizes: 4 -5 3'), 'length below 1'),
      ('block', volume_files.nrrd(_array()).replace(
          b'type: short', b'type: block'), 'real numbers'),
      ('hex', volume_files.nrrd(_array()).replace(
          b'encoding: raw', b'encoding: hex'), 'expected the encoding'),
      ('singular', volume_files.nrrd(
          _array(), directions='(1,0,0) (1,0,0) (0,0,2)'), 'singular'),
      ('nan', volume_files.nrrd(
          _array(), directions='(nan,0,0) (1,0,0) (0,0,2)'), 'three numbers'),
      ('outside', volume_files.nrrd(
          _array(), fields='data file: ../a.raw\n'), 'outside of the folder'),
      ('list', volume_files.nrrd(
          _array(), fields='data file: LIST\na\n'), 'in several files'),
      ('missing', volume_files.nrrd(
          _array(), fields='data file: b.raw\n'), 'is missing'),
      ('no_order', volume_files.nrrd(_array()).replace(
          b'endian: little\n', b''), 'no byte order'),
  )
  def test_bad(self, content, expected):
    with self.assertRaises(pixels.WrongFile) as caught:
      self._read(content)
    self.assertIn(expected, str(caught.exception))

  def test_colours_are_refused(self):
    with self.assertRaises(volumes.FurtherAxis):
      self._read(volume_files.nrrd(
          np.zeros((3, *_SHAPE), np.uint8),
          directions='none (1,0,0) (0,1,0) (0,0,2)'))


class SegmentationTest(parameterized.TestCase):
  """Tests of segmentations of 3D Slicer."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'a.seg.nrrd'
    (self.folder / 'a.nrrd').write_bytes(volume_files.nrrd(_array()))
    self.image = nrrd_file.read_nrrd(self.folder / 'a.nrrd')

  def _draw(self, array, segments, values, **options):
    self.path.write_bytes(volume_files.nrrd(
        array, keys=volume_files.segment_keys(*segments), **options))
    return nrrd.draw(self.path, self.image, values)

  def test_classes_go_by_name(self):
    array = np.zeros(_SHAPE, np.uint8)
    array[1, 1, 1], array[2, 2, 2] = 7, 3
    segments = [('spleen', 3, 0), ('liver', 7, 0), ('unseen', 5, 0)]
    drawn = self._draw(array, segments, {'liver': 1, 'spleen': 2})
    self.assertEqual(drawn.label[1, 1, 1], 1)
    self.assertEqual(drawn.label[2, 2, 2], 2)
    self.assertEqual(np.count_nonzero(drawn.label), 2)
    self.assertEqual(nrrd.names(self.path), ('spleen', 'liver', 'unseen'))
    # A class that the set does not want is background.
    drawn = self._draw(array, segments, {'spleen': 1})
    self.assertEqual(np.count_nonzero(drawn.label), 1)

  def test_layers_overlap_and_the_later_class_wins(self):
    array = np.zeros((2, *_SHAPE), np.uint8)
    array[0, 0:3, 0, 0] = 1
    array[1, 2:4, 0, 0] = 1
    segments = [('organ', 1, 0), ('tumour', 1, 1)]
    directions = 'none (1,0,0) (0,1,0) (0,0,2)'
    drawn = self._draw(
        array, segments, {'organ': 1, 'tumour': 2}, directions=directions)
    self.assertEqual(drawn.label[:, 0, 0].tolist(), [1, 1, 2, 2])
    self.assertEqual(drawn.overlap, 1)
    drawn = self._draw(
        array, segments, {'tumour': 1, 'organ': 2}, directions=directions)
    self.assertEqual(drawn.label[:, 0, 0].tolist(), [2, 2, 2, 1])

  def test_a_part_of_the_grid(self):
    # The stored part begins at voxel 1, 2, 0, which is at (1, 2, 0) mm in LPS.
    drawn = self._draw(
        np.ones((2, 1, 3), np.uint8), [('a', 1, 0)], {'a': 1},
        origin='(1,2,0)')
    expected = np.zeros(_SHAPE, np.uint8)
    expected[1:3, 2] = 1
    np.testing.assert_array_equal(drawn.label, expected)

  def test_a_part_with_turned_axes(self):
    # Its first axis is the third of the image, from the top down.
    array = np.zeros((2, 4, 5), np.uint8)
    array[0, 3, 1] = 1  # The top slice of the part is slice 2 of the image.
    drawn = self._draw(
        array, [('a', 1, 0)], {'a': 1},
        directions='(0,0,-2) (1,0,0) (0,1,0)', origin='(0,0,4)')
    self.assertEqual(np.argwhere(drawn.label).tolist(), [[3, 1, 2]])

  def test_a_part_beyond_the_image(self):
    array = np.zeros((9, 5, 3), np.uint8)
    array[4, 0, 0] = 1
    drawn = self._draw(array, [('a', 1, 0)], {'a': 1}, origin='(-2,0,0)')
    self.assertEqual(np.argwhere(drawn.label).tolist(), [[2, 0, 0]])
    array[0, 0, 0] = 1
    with self.assertRaisesRegex(pixels.WrongFile, 'outside of their image'):
      self._draw(array, [('a', 1, 0)], {'a': 1}, origin='(-2,0,0)')

  @parameterized.parameters(
      ({'origin': '(0.5,0,0)'}, 'between the voxels'),
      ({'directions': '(1.1,0,0) (0,1,0) (0,0,2)'}, 'spacing of the labels'),
      ({'directions': '(1,0.2,0) (-0.2,1,0) (0,0,2)'}, 'of the labels is not'))
  def test_another_grid(self, options, expected):
    with self.assertRaisesRegex(pixels.WrongFile, expected):
      self._draw(np.ones(_SHAPE, np.uint8), [('a', 1, 0)], {'a': 1}, **options)

  @parameterized.parameters(
      ([('a', 2, 0)], 'belong to no segment'),
      ([('a', 1, 4)], 'does not exist'), ([('a', 0, 0)], 'does not exist'),
      ([('a', 1, 0), ('a', 2, 0)], 'one name'), ([], 'no segment has a name'))
  def test_bad_segments(self, segments, expected):
    with self.assertRaisesRegex(pixels.WrongFile, expected):
      self._draw(np.ones(_SHAPE, np.uint8), segments, {'a': 1})

  def test_old_versions_write_one_layer_for_each_segment(self):
    array = np.zeros((2, *_SHAPE), np.uint8)
    array[0, 0, 0, 0] = array[1, 3, 0, 0] = 1
    keys = {'Segment0_ID': 'x', 'Segment0_Name': 'a', 'Segment1_ID': 'b'}
    self.path.write_bytes(volume_files.nrrd(
        array, directions='none (1,0,0) (0,1,0) (0,0,2)', keys=keys))
    drawn = nrrd.draw(self.path, self.image, {'a': 1, 'b': 2})
    self.assertEqual(drawn.label[:, 0, 0].tolist(), [1, 0, 0, 2])


class NrrdSetTest(source_case.VolumesCase):

  def _write(self, name, array, segments=(), **options):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = volume_files.segment_keys(*segments) if segments else None
    path.write_bytes(volume_files.nrrd(array, keys=keys, **options))

  def _label(self, imported, row_id):
    row = next(r for r in imported.rows if r.id == row_id)
    return rasterize.rasterize(
        row.annotation, size=_SHAPE[:2],
        root=self.folder / 'out' / imported.root)

  def test_slices_of_a_pair(self):
    label = np.zeros(_SHAPE, np.uint8)
    label[1:3, 2:4, 1] = 1
    self._write('a.nrrd', _array())
    self._write('a-label.nrrd', label)
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual([r.id for r in imported.rows],
                     ['a_z000', 'a_z001', 'a_z002'])
    self.assertEqual(imported.rows[0].spacing_mm, (1.0, 1.0))
    np.testing.assert_array_equal(
        self._label(imported, 'a_z001'), label[..., 1])
    index = json.loads((self.folder / 'out/volumes.json').read_text())
    self.assertEqual(index['a']['format'], 'nrrd')

  def test_segments_of_a_set(self):
    first, second = np.zeros((2, *_SHAPE), np.uint8)
    first[0, 0], first[1, 0] = 1, 2
    second[2, 0] = 1
    self._write('p1/CT.nrrd', _array())
    self._write('p1/Segmentation.seg.nrrd', first,
                [('liver', 1, 0), ('spleen', 2, 0)])
    self._write('p2/CT.nrrd', _array())
    self._write('p2/Segmentation.seg.nrrd', second, [('spleen', 1, 0)])
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'liver', 'spleen'))
    self.assertEqual(self._label(imported, 'p1/CT_z000')[:3, 0].tolist(),
                     [1, 2, 0])
    # Nobody looked for the liver of p2.
    self.assertEqual(self._label(imported, 'p2/CT_z000')[:3, 0].tolist(),
                     [255, 255, 2])
    self.assertIn('1 volume lacks a segment', ' '.join(imported.notices))
    imported = self._read(classes=('background', 'spleen'))
    self.assertEqual(self._label(imported, 'p2/CT_z000')[:3, 0].tolist(),
                     [0, 0, 1])
    self.assertEqual(self._label(imported, 'p1/CT_z000')[:3, 0].tolist(),
                     [0, 1, 0])
    problem, = self._read(classes=('background', 'lung')).problems
    self.assertIn('what no segment does', problem.what)

  def test_two_files_of_one_segment(self):
    self._write('CT.nrrd', _array())
    for name in ('One', 'Two'):
      self._write(f'{name}.seg.nrrd', np.ones(_SHAPE, np.uint8),
                  [('liver', 1, 0)])
    problem, = self._read().problems
    self.assertIn('two files draw the same segment', problem.what)
    imported = self._read(mask_folders=('Two',))
    self.assertEqual(imported.problems, [])
    self.assertEqual(len(imported.rows), 3)

  def test_a_damaged_file_does_not_cost_the_set(self):
    for name in ('a', 'b'):
      self._write(f'{name}.nrrd', _array())
      self._write(f'{name}.seg.nrrd', np.ones(_SHAPE, np.uint8),
                  [('liver', 1, 0)])
    (self.source / 'b.seg.nrrd').write_bytes(
        (self.source / 'b.seg.nrrd').read_bytes()[:-5])
    problem, = self._read().problems
    self.assertEqual(problem.file, 'b.seg.nrrd')
    imported = self._read(leave_out=frozenset({'defective'}))
    self.assertEqual(imported.problems, [])
    self.assertEqual({r.id for r in imported.rows},
                     {'a_z000', 'a_z001', 'a_z002'})
    self.assertEqual([e.name for e in imported.left_out], ['b.seg.nrrd'])

  @parameterized.parameters('.nii.gz', '.mhd')
  def test_segmentations_of_images_in_other_formats(self, suffix):
    stored = nrrd_file.Opened(_array()[None], np.diag([-1.0, -1, 2, 1]), ())
    path = self.source / f'a{suffix}'
    if suffix == '.mhd':
      path.write_bytes(volume_files.metaimage(_array(), data_file='a.raw'))
      (self.source / 'a.raw').write_bytes(_array().tobytes('F'))
    else:
      nibabel.save(nibabel.Nifti1Image(stored.layers[0], stored.affine), path)
    label = np.zeros(_SHAPE, np.uint8)
    label[1, 2, 1] = 1
    self._write('a.seg.nrrd', label, [('liver', 1, 0)])
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'liver'))
    np.testing.assert_array_equal(
        self._label(imported, 'a_z001'), label[..., 1])
    self.assertNotIn('not read', ' '.join(imported.notices))
    # Without segmentations, NIfTI is read as NIfTI.
    (self.source / 'a.seg.nrrd').rename(self.source / 'a-label.nrrd')
    expected = 'nifti' if suffix == '.nii.gz' else 'nrrd'
    self.assertEqual(registry.detect_format(self.source), expected)

  def test_dicom_segmentations_beside_it_are_named(self):
    self._write('a.nrrd', _array())
    (self.source / 's.dcm').write_bytes(dicom_files.content(dicom_files.seg(
        np.ones((1, 4, 5)), [(0, 0, 0)], [1], names={1: 'a'})))
    self.assertIn('1 DICOM file without a picture (SEG 1) is not read: '
                  '--format=dicom_seg reads SEG', self._read().notices)

  def test_prepare_volumes_leaves_out_what_is_damaged(self):
    for k in range(6):
      label = np.zeros((9, 10, 8), np.uint8)
      label[2:6, 3:7, 2:5] = 1
      self._write(f'c{k}.nrrd', np.random.default_rng(k).integers(
          0, 9, label.shape).astype(np.int16))
      self._write(f'c{k}.seg.nrrd', label, [('liver', 1, 0)])
    path = self.source / 'c3.seg.nrrd'
    path.write_bytes(path.read_bytes()[:-9])
    options = ['--volumes', f'--source={self.source}',
               f'--output={self.folder}/whole']
    code, _, err = prepare_binary.run(*options)
    self.assertEqual(code, 2)
    self.assertIn('--leave_out=defective', err[-1])
    (self.folder / 'ids').write_text('c1\n')
    code, out, err = prepare_binary.run(
        *options, '--leave_out=defective', f'--leave_out=@{self.folder}/ids',
        '--split_fractions=0.5,0.25,0.25')
    self.assertEqual((code, err), (0, []))
    self.assertIn('left out: 1 file (c3.seg.nrrd)', out)
    self.assertIn('left out: 1 picture (c1)', out)
    text = (self.folder / 'whole/left_out.csv').read_text()
    self.assertLen(text.splitlines(), 3)
    index = json.loads((self.folder / 'whole/chunks/index.json').read_text())
    self.assertLen(index['volumes'], 4)

  def test_prepare_volumes_and_export(self):
    for k in range(6):
      label = np.zeros((9, 10, 8), np.uint8)
      label[2:6, 3:7, 2 : 5 + k % 2] = 1
      rng = np.random.default_rng(k)
      image = 100 * label + rng.integers(0, 50, label.shape, np.int16)
      self._write(f'c{k}.nrrd', image.astype(np.int16), encoding='gzip')
      self._write(f'c{k}.seg.nrrd', label, [('liver', 1, 0)], encoding='gzip')
    code, out, err = prepare_binary.run(
        '--volumes', f'--source={self.source}', f'--output={self.folder}/whole')
    self.assertEqual((code, err), (0, []))
    self.assertIn('1 class is named by segments: liver', out)
    index = json.loads((self.folder / 'whole/chunks/index.json').read_text())
    self.assertEqual(index['classes'], ['background', 'liver'])
    code, _, err = prepare_binary.run(
        '--volumes', f'--source={self.source}', '--format=coco', '--check')
    self.assertEqual(code, 2)
    self.assertIn('--format=coco holds no volumes', err[-1])
    imported = self._read()
    registry.FORMATS['nifti'].write(
        registry.manifest_lib.Manifest(
            registry.manifest_lib.Header('set', imported.classes,
                                         imported.root),
            tuple(imported.rows), self.folder / 'out'), self.folder / 'nii')
    image = nibabel.load(self.folder / 'nii/images/c0.nii.gz')
    stored = nrrd_file.read_nrrd(self.source / 'c0.nrrd')
    np.testing.assert_array_equal(image.get_fdata(), stored.voxels)
    np.testing.assert_allclose(image.affine, stored.affine)
    back = nibabel.load(self.folder / 'nii/masks/c1.nii.gz').get_fdata()
    self.assertEqual(back.sum(), 4 * 4 * 4)


if __name__ == '__main__':
  absltest.main()
