"""Tests of data_prep.formats.rtstruct."""

import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import rasterize
from data_prep.formats import rtstruct
from data_prep.shared import pixels
from data_prep.shared import volume_type
import numpy as np

from tests import dicom_files
from tests import prepare_binary
from tests import source_case


def _box(rows, columns, k=1.0):
  """Returns a contour from the edge of the first to that of the last pixel.

  Args:
    rows: first row, and the row after the last one.
    columns: the same of the columns.
    k: number of the slice.
  """
  low, high = np.array([rows, columns]).T - 0.5
  z = -30 + 2 * k
  return np.array([
      (10 + low[1], 20 + low[0], z), (10 + high[1], 20 + low[0], z),
      (10 + high[1], 20 + high[0], z), (10 + low[1], 20 + high[0], z)])


class DrawTest(parameterized.TestCase):
  """Tests of drawing on an image of 8 rows, 9 columns and 6 slices."""

  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(
        self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / 'rt.dcm'
    self.image = volume_type.Volume(np.zeros((8, 9, 6)), np.array([
        [0, -1, 0, -10], [-1, 0, 0, -20], [0, 0, 2, -30], [0, 0, 0, 1.0]]))

  def _draw(self, structures, values=None, **options):
    self.path.write_bytes(dicom_files.content(
        dicom_files.rtstruct(structures, **options)))
    values = values or {n: i for i, n in enumerate(structures, start=1)}
    return rtstruct.draw(self.path, self.image, values)

  def test_pixels_whose_centres_lie_inside(self):
    drawn = self._draw({'a': [_box((1, 4), (2, 7))]})
    expected = np.zeros((8, 9, 6), np.uint8)
    expected[1:4, 2:7, 1] = 1
    np.testing.assert_array_equal(drawn.label, expected)
    # Corners within the pixels: only centres count.
    drawn = self._draw({'a': [_box((1.4, 3.6), (2.4, 6.6))]})
    np.testing.assert_array_equal(drawn.label, expected)
    drawn = self._draw({'a': [_box((1.6, 3.4), (2.6, 6.4))]})
    self.assertEqual(np.count_nonzero(drawn.label), 1 * 3)

  def test_a_triangle(self):
    # Corners at the centres of pixels 0,0 and 0,8 and 8,0: the centres of the
    # pixels with row + column < 8 lie inside, those on an edge may or may not.
    points = np.array([(10, 20, -30), (18, 20, -30), (10, 28, -30)], float)
    points[:, :2] += [-0.25, -0.25]
    drawn = self._draw({'a': [points]})
    rows, columns = np.indices((8, 9))
    np.testing.assert_array_equal(
        drawn.label[..., 0], rows + columns + 0.5 < 8)

  def test_contours_through_the_centres_of_pixels(self):
    # The pixels on the contour belong to it on all sides, also on a hole's.
    drawn = self._draw({'a': [_box((1.5, 6.5), (1.5, 7.5))]})
    expected = np.zeros((8, 9), np.uint8)
    expected[1:7, 1:8] = 1
    np.testing.assert_array_equal(drawn.label[..., 1], expected)
    drawn = self._draw({'a': [_box((1.5, 6.5), (1.5, 7.5)),
                              _box((2.5, 5.5), (2.5, 6.5))]})
    expected[3:5, 3:6] = 0
    np.testing.assert_array_equal(drawn.label[..., 1], expected)
    # A diagonal from the centre of 0, 0 to that of 4, 4, and back along edges.
    z = np.full((3, 1), -28.0)
    points = np.concatenate([[(10, 20), (14, 24), (10, 24)], z], 1)
    drawn = self._draw({'a': [points]})
    rows, columns = np.indices((8, 9))
    np.testing.assert_array_equal(
        drawn.label[..., 1], (columns <= rows) & (rows <= 4))

  def test_objects_of_one_pixel_or_line_as_rt_utils_writes_them(self):
    line = np.array([(11.0, 22, -28), (14, 22, -28)])
    drawn = self._draw({'a': [line, np.array([(17.0, 25, -28)])]})
    self.assertEqual(drawn.faults, ())
    self.assertEqual(np.argwhere(drawn.label[..., 1]).tolist(), [
        [2, 1], [2, 2], [2, 3], [2, 4], [5, 7]])

  def test_a_contour_that_is_listed_twice(self):
    drawn = self._draw({'a': [_box((1, 4), (2, 7))] * 2})
    self.assertEqual(drawn.label.sum(), 15)
    self.assertIn('listed twice', drawn.notices[0])

  def test_a_contour_beyond_the_edge(self):
    drawn = self._draw({'a': [_box((-3, 2), (7, 12))]})
    self.assertEqual(drawn.label.sum(), 2 * 2)
    self.assertIn('cut at the edge', drawn.notices[0])

  def test_holes_and_islands(self):
    drawn = self._draw({'a': [
        _box((0, 8), (0, 8)), _box((2, 6), (2, 6)), _box((3, 5), (3, 5))]})
    label = drawn.label[..., 1]
    self.assertEqual(label[4].tolist(), [1, 1, 0, 1, 1, 0, 1, 1, 0])
    self.assertEqual(label.sum(), 64 - 16 + 4)

  def test_structures_overlap(self):
    boxes = {'a': [_box((0, 3), (0, 3))], 'b': [_box((1, 5), (1, 5))]}
    drawn = self._draw(boxes)
    self.assertEqual(drawn.overlap, 4)
    self.assertEqual(drawn.label[1, :, 1].tolist(), [1, 2, 2, 2, 2, 0, 0, 0, 0])
    drawn = self._draw(boxes, {'b': 1, 'a': 2})
    self.assertEqual(drawn.label[1, :, 1].tolist(), [2, 2, 2, 1, 1, 0, 0, 0, 0])

  def test_contours_between_slices_are_faults(self):
    drawn = self._draw({'a': [_box((1, 4), (2, 7), 1.1),
                              _box((1, 4), (2, 7), 3.5)]})
    self.assertEqual(drawn.label.sum((0, 1)).tolist(), [0, 15, 0, 0, 0, 0])
    fault, = drawn.faults
    self.assertEqual(
        fault, ('a', 'a contour lies between two slices', 'at 3.50'))
    self.assertEqual(
        drawn.lost.any((0, 1)).tolist(), [False, False, False, True, True,
                                          False])

  @parameterized.parameters(
      (_box((1, 4), (2, 7), 9), 'outside of the image'),
      (_box((1, 4), (12, 17)), 'outside of the image'),
      (_box((1, 4), (2, 7))[:2] + 0.2, 'fewer than three points'),
      (_box((1, 4), (2, 7)) + [[0, 0, 0], [0, 0, 5], [0, 0, 0], [0, 0, 0]],
       'not parallel'))
  def test_faults(self, contour, expected):
    drawn = self._draw({'a': [_box((1, 4), (2, 7), 2), contour]})
    self.assertEqual(drawn.label.sum(), 15)
    self.assertIn(expected, drawn.faults[0].what)

  def test_skipped_slices_are_unlabelled(self):
    drawn = self._draw({'a': [_box((1, 4), (2, 7), k) for k in (0, 2, 4)]})
    self.assertEqual(drawn.lost.all((0, 1)).tolist(),
                     [False, True, False, True, False, False])
    self.assertIn('every second slice', drawn.notices[0])
    # Two objects with a gap between them skip nothing.
    drawn = self._draw({'a': [_box((1, 4), (2, 7), k) for k in (0, 1, 4)]})
    self.assertIsNone(drawn.lost)

  def test_what_has_no_area(self):
    data = dicom_files.rtstruct(
        {'a': [_box((1, 4), (2, 7))], 'marker': [_box((1, 2), (1, 2))],
         'empty': []})
    data.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = 'POINT'
    self.path.write_bytes(dicom_files.content(data))
    self.assertEqual(rtstruct.names(self.path), ('a',))
    drawn = rtstruct.draw(self.path, self.image, {'a': 1})
    self.assertIn('have no area', drawn.notices[0])
    self.assertIn('without a closed contour', drawn.notices[1])
    self.path.write_bytes(dicom_files.content(dicom_files.rtstruct(
        {'a': [_box((1, 4), (2, 7))]}, kind='POINT')))
    with self.assertRaisesRegex(pixels.WrongFile, 'closed contour'):
      rtstruct.names(self.path)


class RtstructSetTest(source_case.VolumesCase):

  def _case(self, k, contours):
    rng = np.random.default_rng(k)
    array = rng.integers(0, 99, (6, 12, 14))
    series = f'1.2.3.{k + 1}'
    files = dicom_files.series(array, series=series, patient=k)
    files['rt.dcm'] = dicom_files.content(dicom_files.rtstruct(
        {'GTV-1': contours}, drawn_on=series, patient=k, series='1.9'))
    for name, content in files.items():
      path = self.source / f'p{k}' / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)

  def test_a_contour_between_slices_does_not_cost_the_set(self):
    self._case(0, [_box((1, 4), (2, 7), k) for k in (1, 2)])
    self._case(1, [_box((1, 4), (2, 7), k) for k in (1, 2, 3.5)])
    problem, = self._read().problems
    self.assertEqual(problem.file, 'p1/rt.dcm')
    self.assertEqual(problem.field, 'GTV-1')
    self.assertIn('--leave_out=shapes', problem.fix)
    imported = self._read(leave_out=frozenset({'shapes'}))
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'GTV-1'))
    rows = {row.id: row for row in imported.rows}
    label = lambda name: rasterize.rasterize(
        rows[name].annotation, size=(12, 14),
        root=self.folder / 'out' / imported.root)
    self.assertEqual(np.unique(label('p1_z002')).tolist(), [0, 1])
    self.assertEqual(np.unique(label('p1_z003')).tolist(), [0, 255])
    self.assertEqual(np.count_nonzero(label('p1_z003')), 5 * 7)
    self.assertEqual([e.field for e in imported.left_out], ['GTV-1'])

  @parameterized.parameters(True, False)
  def test_no_tag_of_a_patient_leaves(self, is_whole):
    for k in range(8):
      self._case(k, [_box((1, 4 + k % 3), (2, 7), z) for z in range(6)])
    options = ['--volumes'] if is_whole else ['--image_size=16']
    code, out, err = prepare_binary.run(
        *options, f'--source={self.source}', f'--output={self.folder}/made',
        '--split_fractions=0.5,0.25,0.25', '--simulate=box',
        '--strong_fraction=0.5')
    self.assertEqual((code, err), (0, []))
    self.assertIn('GTV-1', out)
    files = [p for p in (self.folder / 'made').rglob('*') if p.is_file()]
    self.assertGreater(len(files), 3)
    for text in [out.encode(), *(path.read_bytes() for path in files)]:
      for secret in (dicom_files.MARK, dicom_files.FRAME, '1.2.3.'):
        self.assertNotIn(secret.encode(), text)


if __name__ == '__main__':
  absltest.main()
