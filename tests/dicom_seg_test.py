"""Tests of data_prep.formats.dicom_seg, planes and dicom_sets."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import rasterize
from data_prep.formats import dicom_seg
from data_prep.formats import registry
from data_prep.shared import pixels
from data_prep.shared import volume_type
import numpy as np

from tests import dicom_files
from tests import prepare_binary
from tests import source_case

_MARK = dicom_files.MARK


def _affine(spacing=(1, 1, 2)):
  """Returns the affine of the series that `dicom_files.series` writes."""
  return np.array([
      [0, -spacing[1], 0, -10], [-spacing[0], 0, 0, -20],
      [0, 0, spacing[2], -30], [0, 0, 0, 1.0]])


def _place(k):
  return 10, 20, -30 + 2 * k


class DrawTest(parameterized.TestCase):
  """Tests of drawing on an image of 4 rows, 5 columns and 6 slices."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'seg.dcm'
    self.image = volume_type.Volume(np.zeros((4, 5, 6)), _affine())

  def _draw(self, *args, values=None, image=None, threshold=0.5, **kwargs):
    self.path.write_bytes(dicom_files.content(dicom_files.seg(*args, **kwargs)))
    values = values or {n: k for k, n in kwargs['names'].items()}
    return dicom_seg.draw(
        self.path, image or self.image, values, threshold=threshold)

  def test_frames_go_to_their_positions(self):
    frames = np.zeros((2, 4, 5), bool)
    frames[0, 1, 3] = frames[1, 2, 0] = True
    drawn = self._draw(frames, [_place(4), _place(1)], [1, 2],
                       names={1: 'liver', 2: 'spleen'})
    self.assertEqual(np.argwhere(drawn.label == 1).tolist(), [[1, 3, 4]])
    self.assertEqual(np.argwhere(drawn.label == 2).tolist(), [[2, 0, 1]])
    self.assertEqual(np.count_nonzero(drawn.label), 2)
    self.assertEqual(dicom_seg.names(self.path), ('liver', 'spleen'))

  @parameterized.parameters((3, 3), (4, 5), (7, 3), (1, 1))
  def test_bits_of_frames_that_end_within_a_byte(self, rows, columns):
    frames = np.random.default_rng(0).random((6, rows, columns)) < 0.5
    image = volume_type.Volume(np.zeros((rows, columns, 6)), _affine())
    drawn = self._draw(frames, [*map(_place, range(6))], [1] * 6,
                       names={1: 'a'}, image=image)
    np.testing.assert_array_equal(drawn.label, np.moveaxis(frames, 0, 2))

  def test_overlapping_segments(self):
    frames = np.zeros((3, 4, 5), bool)
    frames[0, 0, 0:3] = frames[1, 0, 2:4] = frames[2, 0, 2] = True
    drawn = self._draw(frames, [_place(0)] * 3, [1, 2, 3],
                       names={1: 'a', 2: 'b', 3: 'c'})
    self.assertEqual(drawn.label[0, :, 0].tolist(), [1, 1, 3, 2, 0])
    self.assertEqual(drawn.overlap, 1)
    drawn = self._draw(
        frames, [_place(0)] * 3, [1, 2, 3], names={1: 'a', 2: 'b', 3: 'c'},
        values={'c': 1, 'b': 2, 'a': 3})
    self.assertEqual(drawn.label[0, :, 0].tolist(), [3, 3, 3, 2, 0])

  @parameterized.parameters((0.5, [0, 0, 1, 1]), (0.25, [0, 1, 1, 1]),
                            (1.0, [0, 0, 0, 1]))
  def test_fractions(self, threshold, expected):
    frames = np.zeros((1, 4, 5))
    frames[0, 0, :4] = 0, 64, 128, 255
    drawn = self._draw(frames, [_place(2)], [1], names={1: 'a'},
                       form='FRACTIONAL', threshold=threshold)
    self.assertEqual(drawn.label[0, :4, 2].tolist(), expected)
    self.assertIn(f'from {threshold:g} on', drawn.notices[0])

  def test_label_map(self):
    frames = np.zeros((1, 4, 5))
    frames[0, 0, :4] = 2, 0, 1, 5
    drawn = self._draw(
        frames, [_place(5)], None, names={0: 'Background', 1: 'a', 2: 'b'},
        form='LABELMAP', PixelPaddingValue=5, values={'a': 1, 'b': 2})
    self.assertEqual(drawn.label[0, :, 5].tolist(), [2, 0, 1, 0, 0])
    self.assertEqual(dicom_seg.names(self.path), ('a', 'b'))
    with self.assertRaisesRegex(pixels.WrongFile, 'no segment; .*value 5'):
      self._draw(frames, [_place(5)], None, names={1: 'a', 2: 'b'},
                 form='LABELMAP')

  def test_turned_and_smaller_frames(self):
    # A row of the frame runs up a column of the image: 2 x 3 pixels.
    frames = np.array([[[1, 0, 0], [0, 1, 1]]], bool)
    drawn = self._draw(
        frames, [(10 + 1, 20 + 3, -30)], [1], names={1: 'a'},
        orientation=(0, -1, 0, 1, 0, 0))
    self.assertEqual(
        np.argwhere(drawn.label[..., 0]).tolist(), [[1, 2], [2, 2], [3, 1]])

  @parameterized.parameters(
      ({'positions': [(10, 20, -29.2)]}, 'between the voxels'),
      ({'positions': [(10.5, 20, -30)]}, 'between the voxels'),
      ({'spacing': (1, 1.1)}, 'spacing of the segments'),
      ({'orientation': (0.8, 0.6, 0, -0.6, 0.8, 0)}, 'direction or spacing'),
      ({'positions': [_place(6)]}, 'outside of the images'),
      ({'positions': [(8, 20, -30)]}, 'outside of the images'),
      ({'segments': [2]}, 'belongs to no segment'),
      ({'names': {}}, 'names no segments'),
      ({'names': {1: 'a', 2: 'a'}}, 'two segments have one name'),
      ({'NumberOfFrames': 2}, 'not as many as the header'),
      ({'Rows': 400}, 'not as many as the header'),
      ({'SegmentationType': 'OTHER'}, 'binary, fractional or a label map'),
      ({'PerFrameFunctionalGroupsSequence': [dicom_files.pydicom.Dataset()],
        'form': 'LABELMAP'}, 'have no position'),
  )
  def test_bad(self, change, expected):
    options = dict(frames=np.ones((1, 4, 5)), positions=[_place(0)],
                   segments=[1], names={1: 'a'}, values={'a': 1}) | change
    with self.assertRaisesRegex(pixels.WrongFile, expected):
      self._draw(options.pop('frames'), options.pop('positions'),
                 options.pop('segments'), **options)


class DicomSegSetTest(source_case.VolumesCase):

  def _write(self, files):
    for name, content in files.items():
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)

  def _case(self, k, names=None, shape=(3, 12, 14)):
    """Writes a series and its segmentation."""
    rng = np.random.default_rng(k)
    mask = np.zeros(shape, bool)
    mask[:2, 3:8, 4 : 9 + k % 3] = True
    array = 300 * mask + rng.integers(0, 99, shape)
    series = f'1.2.3.{k + 1}'
    tags = dict(patient=k, series=series)
    self._write({f'p{k}/ct/{n}': c for n, c in dicom_files.series(
        array, RescaleIntercept=-1000, RescaleSlope=1, **tags).items()})
    positions = [_place(z) for z in range(2)]
    self._write({f'p{k}/seg.dcm': dicom_files.content(dicom_files.seg(
        mask[:2], positions, [1, 1], names=names or {1: 'liver', 2: 'kidney'},
        drawn_on=series, **tags | {'series': f'{series}.9'}))})
    return array, mask

  def test_slices(self):
    _, mask = self._case(0)
    self._case(1)
    imported = self._read()
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'kidney', 'liver'))
    self.assertEqual(
        [row.id for row in imported.rows[:3]],
        ['p0/ct_z000', 'p0/ct_z001', 'p0/ct_z002'])
    self.assertEqual({row.subject for row in imported.rows},
                     {'patient_0000', 'patient_0001'})
    for k in range(3):
      np.testing.assert_array_equal(
          rasterize.rasterize(
              imported.rows[k].annotation, size=(12, 14),
              root=self.folder / 'out' / imported.root), 2 * mask[k])

  def test_missing_and_doubled_segments(self):
    self._case(0)
    self._case(1, {1: 'spleen'})
    imported = self._read()
    self.assertEqual(imported.classes,
                     ('background', 'kidney', 'liver', 'spleen'))
    label = rasterize.rasterize(
        imported.rows[0].annotation, size=(12, 14),
        root=self.folder / 'out' / imported.root)
    self.assertEqual(np.unique(label).tolist(), [2, 255])
    self._write({'p0/more.dcm': (self.source / 'p0/seg.dcm').read_bytes()})
    problem, = self._read().problems
    self.assertIn('two files draw the same segment', problem.what)
    self.assertEqual(self._read(mask_folders=('more',)).problems, [])

  def test_without_its_series(self):
    self._case(0)
    self._case(1)
    self._write({'p0/other.dcm': dicom_files.content(dicom_files.seg(
        np.ones((1, 4, 5)), [_place(0)], [1], names={1: 'liver'},
        drawn_on='1.9.9'))})
    problem, = self._read().problems
    self.assertEqual(problem.file, 'p0/other.dcm')
    self.assertIn('not in the folder', problem.what)
    imported = self._read(leave_out=frozenset({'defective'}))
    self.assertEqual(imported.problems, [])
    self.assertLen(imported.rows, 6)

  def test_a_damaged_object_does_not_cost_the_set(self):
    self._case(0)
    self._case(1)
    path = self.source / 'p1/seg.dcm'
    path.write_bytes(path.read_bytes()[:-8])
    problem, = self._read().problems
    self.assertEqual(problem.file, 'p1/seg.dcm')
    imported = self._read(leave_out=frozenset({'defective'}))
    self.assertEqual(imported.problems, [])
    self.assertEqual({row.subject for row in imported.rows}, {'patient_0000'})

  def test_an_object_of_two_volumes_is_refused_once(self):
    self._case(0, shape=(7, 12, 14))
    (self.source / 'p0/ct/s06.dcm').unlink()
    problem, = self._read().problems
    self.assertEqual(problem.file, 'p0/seg.dcm')
    self.assertIn('outside of the images', problem.what)
    imported = self._read(leave_out=frozenset({'defective'}))
    self.assertEqual([entry.name for entry in imported.left_out],
                     ['p0/seg.dcm'])

  def test_series_alone_are_volumes_with_volumes(self):
    for k in range(6):
      self._case(k)
      (self.source / f'p{k}/seg.dcm').unlink()
    self.assertEqual(registry.detect_format(self.source), 'folder')
    self.assertEqual(registry.detect_volumes(self.source), 'dicom_seg')

  @parameterized.parameters(True, False)
  def test_no_tag_of_a_patient_leaves(self, is_whole):
    for k in range(8):
      self._case(k, shape=(8, 12, 14))
    options = ['--volumes'] if is_whole else ['--image_size=16']
    options += [f'--source={self.source}', '--split_fractions=0.5,0.25,0.25']
    code, out, err = prepare_binary.run(
        *options, f'--output={self.folder}/whole', '--simulate=box',
        '--strong_fraction=0.5')
    self.assertEqual((code, err), (0, []))
    self.assertIn('liver', out)
    texts = [out.encode()]
    damaged = self.source / 'p3/seg.dcm'
    damaged.write_bytes(damaged.read_bytes()[:-9])
    code, out, err = prepare_binary.run(*options, '--check')
    self.assertEqual(code, 2)
    self.assertIn('p3/seg.dcm', err[-1])
    texts += [out.encode(), '\n'.join(err).encode()]
    files = [p for p in (self.folder / 'whole').rglob('*') if p.is_file()]
    self.assertGreater(len(files), 3)
    texts += [path.read_bytes() for path in files]
    for text in texts:
      self.assertNotIn(_MARK.encode(), text)
      for other in ('1.2.3.', dicom_files.FRAME):
        self.assertNotIn(other.encode(), text)


if __name__ == '__main__':
  absltest.main()
