"""Tests reading projects and exports of the VGG Image Annotator."""

import json
import math

from absl.testing import absltest
from absl.testing import parameterized

from tests import source_case

_SQUARE = {'name': 'polygon', 'all_points_x': [2, 8, 8, 2],
           'all_points_y': [3, 3, 9, 9]}


def _region(shape, **attributes):
  return {'shape_attributes': shape, 'region_attributes': attributes}


class ViaTest(source_case.ShapesCase):

  def _read(self, *regions, options=None, **more):
    self.picture('a.png')
    pictures = {'a.png123': {
        'filename': 'a.png', 'size': 123, 'regions': list(regions),
        'file_attributes': {'caption': 'x'}}}
    self.write('via.json', pictures if options is None else {
        '_via_settings': {}, '_via_img_metadata': pictures,
        '_via_attributes': {'file': {}, 'region': options}})
    return self.read('via', **more)

  @parameterized.parameters(
      ({'name': 'rect', 'x': 2, 'y': 3, 'width': 6, 'height': 6}, 'boxes',
       [2, 3, 8, 9], 36),
      (_SQUARE, 'polygons', [[2, 3], [8, 3], [8, 9], [2, 9]], 36),
      ({'name': 'polygon', 'all_points_x': [2, 8, 8, 2, 2],
        'all_points_y': [3, 3, 9, 9, 3]}, 'polygons',
       [[2, 3], [8, 3], [8, 9], [2, 9]], 36),
      # In each quarter, the centres (0.5, 0.5), (0.5, 1.5) and (1.5, 0.5).
      ({'name': 'circle', 'cx': 15, 'cy': 10, 'r': 2}, 'ellipses',
       [15, 10, 2, 2, 0], 12),
      ({'name': 'ellipse', 'cx': 15, 'cy': 10, 'rx': 3, 'ry': 2},
       'ellipses', [15, 10, 3, 2, 0], 20),
      ({'name': 'ellipse', 'cx': 15, 'cy': 10, 'rx': 3, 'ry': 2,
        'theta': math.pi / 2}, 'ellipses', [15, 10, 3, 2, 90], 20))
  def test_areas(self, shape, field, value, number):
    row, = self._read(_region(shape, label='a')).rows
    self.assertEqual(row.annotation[field], [value])
    self.assertEqual(self.counts(row), {0: 600 - number, 1: number})

  @parameterized.parameters(
      ({'name': 'point', 'cx': 4, 'cy': 5}, 'points', [4, 5]),
      ({'name': 'polyline', 'all_points_x': [4, 9], 'all_points_y': [5, 5]},
       'strokes', [[4, 5], [9, 5]]))
  def test_points_and_lines(self, shape, field, value):
    row, = self._read(_region(shape, label='a')).rows
    self.assertEqual(row.annotation[field], [value])

  def test_regions_of_version_1(self):
    self.picture('a.png')
    self.write('via.json', {'a.png1': {
        'filename': 'a.png', 'size': 1, 'file_attributes': {},
        'regions': {'0': _region(_SQUARE, name='a')}}})
    row, = self.read('via').rows
    self.assertEqual(self.counts(row), {0: 564, 1: 36})

  def test_csv(self):
    self.picture('a.png', 'b.png')
    quoted = lambda value: '"' + json.dumps(value).replace('"', '""') + '"'
    self.write('via.csv', '\n'.join([
        'filename,file_size,file_attributes,region_count,region_id,'
        'region_shape_attributes,region_attributes',
        f'a.png,1,{quoted({})},1,0,{quoted(_SQUARE)},{quoted({"label": "a"})}',
        f'b.png,1,{quoted({})},0,0,{quoted({})},{quoted({})}']))
    rows = self.read('via').rows
    self.assertEqual([self.counts(r) for r in rows],
                     [{0: 564, 1: 36}, {0: 600}])

  def test_a_damaged_line_of_a_csv_file_costs_its_region_alone(self):
    self.picture('a.png', 'b.png')
    self.write('via.csv', (
        'filename,region_shape_attributes,region_attributes\n'
        'a.png,"{""name"": ""rect""","{""label"": ""a""}"\n'
        'b.png,"{""name"": ""rect"", ""x"": 2, ""y"": 3, ""width"": 6, '
        '""height"": 6}","{""label"": ""a""}"\n'))
    self.read('via', problems=1)
    rows = self.read('via', leave_out=['shapes']).rows
    self.assertEqual([self.counts(r) for r in rows], [None, {0: 564, 1: 36}])

  def test_regions_without_attributes(self):
    # The balloons of Mask R-CNN are drawn like this.
    problem, = self._read(_region(_SQUARE), problems=1).problems
    self.assertIn('no shape has a class', problem.what)
    row, = self._read(
        _region(_SQUARE), classes=('background', 'balloon')).rows
    self.assertEqual(self.counts(row), {0: 564, 1: 36})

  def test_the_attribute_that_is_the_class(self):
    imported = self._read(_region(_SQUARE, quality='good', Type='a', id='3'))
    self.assertEqual(imported.classes, ('background', 'a'))
    problem, = self._read(
        _region(_SQUARE, quality='good', id='3'), problems=1).problems
    self.assertIn('quality, id', str(problem))
    imported = self._read(
        _region(_SQUARE, quality='good', id='3'), classes=('background', '3'))
    self.assertEqual(self.counts(imported.rows[0]), {0: 564, 1: 36})

  def test_values_that_are_checked(self):
    row, = self._read(_region(
        _SQUARE, label={'a': True, 'b': True, 'c': False})).rows
    self.assertEqual(self.counts(row), {0: 564, 2: 36})

  def test_options_order_the_classes(self):
    options = {'label': {'type': 'dropdown', 'options': {'b': '', 'a': ''}}}
    imported = self._read(_region(_SQUARE, label='a'), options=options)
    self.assertEqual(imported.classes, ('background', 'b', 'a'))

  @parameterized.parameters(
      ({'name': 'blob'}, 'no shape of VIA', None),
      ({'name': 'circle', 'cx': 1, 'cy': 2}, "no 'r'", None),
      (None, 'has no shape', None), ({}, "no 'name'", None),
      (_SQUARE | {'all_points_x': [20, 22, 'x', 20]}, 'could not', None),
      (_SQUARE | {'all_points_x': [20, 22, 22]}, 'one length', None),
      (_SQUARE | {'name': 'star'}, 'no shape of VIA', 36))
  def test_a_damaged_region(self, shape, cause, lost):
    good = _region({'name': 'rect', 'x': 20, 'y': 3, 'width': 2, 'height': 2},
                   label='a')
    regions = [good, _region(shape, label='a')]
    self.assertIn(cause, self._read(*regions, problems=1).problems[0].what)
    row, = self._read(*regions, leave_out=['shapes']).rows
    self.assertEqual(self.counts(row), lost and {0: 560, 1: 4, 255: lost})


if __name__ == '__main__':
  absltest.main()
