"""Tests reading GeoJSON as QuPath writes it, and polygons with holes."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.checks import check_shape
from data_prep.drawing import covering
from data_prep.formats import rings
import numpy as np

from tests import source_case

_SIZE = source_case.SIZE  # 20 high and 30 wide.
_SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]
_HOLE = [[4, 5], [6, 5], [6, 7], [4, 7]]


def _closed(*parts):
  return [[*ring, ring[0]] for ring in parts]


def _object(kind, coordinates, label='a', *, geometry=None, **properties):
  properties = {'objectType': 'annotation', **properties}
  if label is not None:
    properties['classification'] = {'name': label, 'color': [3, 128, 17]}
  return {'type': 'Feature', 'id': '3e4b', 'properties': properties,
          'geometry': {'type': kind, 'coordinates': coordinates,
                       **(geometry or {})}}


class GeoJsonTest(source_case.ShapesCase):

  def _read(self, *objects, name='a.geojson', picture='a.png', **options):
    self.picture(picture)
    self.write(name, {'type': 'FeatureCollection', 'features': list(objects)})
    return self.read('geojson', **options)

  def _counts(self, *objects, **options):
    row, = self._read(*objects, **options).rows
    return self.counts(row)

  def test_polygon(self):
    row, = self._read(_object('Polygon', _closed(_SQUARE))).rows
    self.assertEqual(row.annotation, {
        'kind': 'polygon', 'polygons': [_SQUARE], 'labels': [1]})
    self.assertEqual(self.counts(row), {0: 564, 1: 36})

  @parameterized.parameters('polygon', 'mask')
  def test_hole(self, kind):
    row, = self._read(_object('Polygon', _closed(_SQUARE, _HOLE)),
                      polygons_are=kind).rows
    self.assertEqual(row.annotation['kind'], kind)
    self.assertEqual(self.counts(row), {0: 568, 1: 32})

  def test_multi_polygon(self):
    other = [[20, 1], [22, 1], [22, 5], [20, 5]]
    row, = self._read(_object('MultiPolygon', [
        _closed(_SQUARE, _HOLE), _closed(other)])).rows
    self.assertEqual(row.annotation['labels'], [1, 1])
    self.assertEqual(self.counts(row), {0: 560, 1: 40})

  def test_later_objects_lie_on_top(self):
    self.assertEqual(self._counts(
        _object('Polygon', _closed(_SQUARE)),
        _object('Polygon', _closed(_HOLE), 'b')), {0: 564, 1: 32, 2: 4})

  def test_ellipse_fills_its_bounding_box(self):
    ring = [[12, 10], [15, 8], [18, 10], [15, 12]]
    row, = self._read(_object('Polygon', _closed(ring), geometry={
        'isEllipse': True})).rows
    self.assertEqual(row.annotation['ellipses'], [[15, 10, 3, 2, 0]])
    # As in Label Studio's test: 3 and 2 centres in each quarter.
    self.assertEqual(self.counts(row), {0: 580, 1: 20})

  @parameterized.parameters(
      ('Point', [4, 5], 'points', [[4, 5]]),
      ('MultiPoint', [[4, 5, 0], [6, 7, 0]], 'points', [[4, 5], [6, 7]]),
      ('LineString', [[4, 5], [9, 5]], 'strokes', [[[4, 5], [9, 5]]]),
      ('MultiLineString', [[[4, 5], [9, 5]], [[1, 1], [2, 2]]], 'strokes',
       [[[4, 5], [9, 5]], [[1, 1], [2, 2]]]))
  def test_points_and_lines(self, kind, coordinates, field, expected):
    row, = self._read(_object(kind, coordinates)).rows
    self.assertEqual(row.annotation[field], expected)

  @parameterized.parameters(
      ({'name': 'a'},), ({'names': ['a']},), ('a',), ({'names': ['x', 'y']},))
  def test_classes(self, classification):
    found = _object('Polygon', _closed(_SQUARE), None,
                    classification=classification, name='other')
    name = 'x: y' if 'y' in str(classification) else 'a'
    self.assertEqual(self._read(found).classes, ('background', name))

  def test_names_are_the_classes_if_no_object_has_one(self):
    imported = self._read(
        _object('Polygon', _closed(_SQUARE), None, name='I'))
    self.assertEqual(imported.classes, ('background', 'I'))
    self.assertIn('their names are the classes', self.notices)

  def test_objects_without_a_class(self):
    # Pixels within 2 of the point are unlabelled: a square of 4 x 4.
    self.assertEqual(self._counts(
        _object('Polygon', _closed(_SQUARE)),
        _object('Point', [20, 10], None, name='calibration'),
        _object('Polygon', _closed(_HOLE), None)),
                     {0: 548, 1: 36, 255: 16})
    # The only notice: no label of ours is called a label of the file.
    self.assertEqual(
        self.notices,
        '2 shapes have no class: what they cover is unlabelled')

  def test_a_set_without_any_class(self):
    found = _object('Polygon', _closed(_SQUARE), None)
    problem, = self._read(found, problems=1).problems
    self.assertIn('no shape has a class', problem.what)
    imported = self._read(found, classes=('background', 'polyp'))
    self.assertEqual(self.counts(imported.rows[0]), {0: 564, 1: 36})

  @parameterized.parameters(
      ('a.geojson', 'a.jpg'), ('a.jpg.geojson', 'a.jpg'),
      ('sub/a.json', 'sub/a.tif'), ('a.b.geojson', 'a.b.png'))
  def test_names(self, name, picture):
    row, = self._read(_object('Polygon', _closed(_SQUARE)), name=name,
                      picture=picture).rows
    self.assertEqual(row.image, picture)
    self.assertIsNotNone(row.annotation)

  @parameterized.parameters(
      ([_object('Polygon', _closed(_SQUARE))],),
      (_object('Polygon', _closed(_SQUARE)),),
      ([{'type': 'Feature', 'id': 'PathRootObject', 'geometry': {
          'type': 'Polygon', 'coordinates': []}, 'properties': {
              'childObjects': [_object('Polygon', _closed(_SQUARE))]}}],))
  def test_other_forms_of_a_file(self, content):
    self.picture('a.png')
    self.write('a.geojson', content)
    row, = self.read('geojson').rows
    self.assertEqual(self.counts(row), {0: 564, 1: 36})

  def test_coordinates_of_a_map_are_told(self):
    self.picture('a.png')
    self.write('a.geojson', {
        'type': 'FeatureCollection', 'crs': {'type': 'name'},
        'features': [_object('Polygon', _closed(_SQUARE))]})
    self.read('geojson')
    self.assertIn('coordinates are read as pixels', self.notices)

  def test_objects_of_several_planes(self):
    plane = lambda z: {'plane': {'c': -1, 'z': z, 't': 0}}
    objects = [_object('Polygon', _closed(_SQUARE), geometry=plane(z))
               for z in (0, 1)]
    self.assertIn('several planes', str(self._read(
        *objects, problems=1).problems[0]))
    self.assertEqual(self._counts(objects[1]), {0: 564, 1: 36})

  @parameterized.parameters(
      ('Polygon', [[[2, 3], [8, 3], [2, 3]]], 'needs 3 points', None),
      ('Polygon', [], 'needs a ring', None),
      ('Polygon', [[*_closed(_HOLE)[0], ['x', 1]]], 'could not convert', None),
      ('Polygon', [_closed(_HOLE)[0], [[1, 1]]], 'needs 3 points', 4),
      ('Circle', [[1, 2]], 'not one of GeoJSON', None),
      ('LineString', [[1, 2]], 'needs 2 points', None))
  def test_a_damaged_object(self, kind, coordinates, cause, lost):
    square = [[20, 1], [22, 1], [22, 5], [20, 5]]
    objects = [_object('Polygon', _closed(square)),
               _object(kind, coordinates)]
    self.assertIn(cause, self._read(*objects, problems=1).problems[0].what)
    counts = self._counts(*objects, leave_out=['shapes'])
    self.assertEqual(counts, lost and {0: 592 - lost, 1: 8, 255: lost})


class RingsTest(parameterized.TestCase):

  def test_hole(self):
    outline = rings.join([_SQUARE, _HOLE])
    # The hole is gone round in the other direction.
    self.assertEqual(outline, [
        *_SQUARE, [2, 3], [4, 5], [4, 7], [6, 7], [6, 5], [4, 5]])
    expected = np.zeros(_SIZE, bool)
    expected[3:9, 2:8] = True
    expected[5:7, 4:6] = False
    np.testing.assert_array_equal(covering.fill_polygon(
        np.array(outline, float), _SIZE), expected)
    self.assertEqual(rings.divide(outline), [
        _SQUARE, [[4, 5], [4, 7], [6, 7], [6, 5]]])
    self.assertEqual(check_shape.crossed_share(np.array(outline, float)), 0)

  @parameterized.parameters(
      (_SQUARE,), ([[2, 3], [8, 3], [2, 3], [8, 9]],),
      ([*_SQUARE, [2, 3], [4, 5], [6, 5]],))
  def test_other_outlines_are_not_divided(self, outline):
    self.assertEqual(rings.divide(outline), [outline])

  def test_outlines_of_masks(self):
    rng = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8):
      for _ in range(20):
        mask = rng.random((9, 11)) < share
        found = np.zeros(mask.shape, bool)
        for part in rings.outlines(mask):
          self.assertEqual(rings.divide(rings.join(part)), part)
          for ring in part:
            self.assertLen({*map(tuple, ring)}, len(ring))
          found ^= covering.fill_polygon(
              np.array(rings.join(part), float), mask.shape)
        np.testing.assert_array_equal(found, mask)

  def test_parts_that_touch_at_a_corner(self):
    mask = np.array([[1, 0], [0, 1]], bool)
    self.assertEqual(rings.outlines(mask), [
        [[[0, 0], [1, 0], [1, 1], [0, 1]]], [[[1, 1], [2, 1], [2, 2], [1, 2]]]])

  def test_shared_edges_leave_no_gap_and_do_not_overlap(self):
    rng = np.random.default_rng(1)
    for _ in range(50):
      a, b, c, d = rng.integers(0, 40, (4, 2)) / 2
      low, high = (covering.fill_polygon(np.array([a, b, p], float), (20, 20))
                   for p in (c, d))
      turned = (covering.fill_polygon(np.array([p, b, a], float), (20, 20))
                for p in (c, d))
      for one, other in zip((low, high), turned, strict=True):
        np.testing.assert_array_equal(one, other)


if __name__ == '__main__':
  absltest.main()
