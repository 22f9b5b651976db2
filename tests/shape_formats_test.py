"""Tests reading shapes from files of annotation tools and converters."""

import base64
import io
import json

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import manifest as manifest_lib
from data_prep.checks import check_report
from data_prep.drawing import rle
from data_prep.formats import registry
import numpy as np
from PIL import Image

from tests import prepare_binary
from tests import source_case

_SIZE = source_case.SIZE
_RING = [2, 3, 8, 3, 8, 9, 2, 9]
_SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]


class CocoTest(source_case.ShapesCase):

  def _write(self, annotations, categories=('a', 'b'), number=2, folder='.'):
    self.picture(*(f'{folder}/{i}.png' for i in range(number)))
    self.write(f'{folder}/set.json', {
        'images': [{'id': i, 'file_name': f'{i}.png', 'height': 20, 'width': 30}
                   for i in range(number)],
        'categories': [c if isinstance(c, dict) else {'id': i, 'name': c}
                       for i, c in enumerate(categories)],
        'annotations': [{'id': i, 'category_id': 0, **a}
                        for i, a in enumerate(annotations)]})

  @parameterized.parameters(
      {'keypoints': [4, 5, 2], 'num_keypoints': 1}, {'attributes': {'x': 1}},
      {'segmentation': [], 'bbox': []}, {'caption': 'a polyp'},
      {'keypoints': [4, 5, 2], 'segmentation': [], 'bbox': [4, 5, 0, 0]})
  def test_what_has_no_area_is_unlabelled(self, **fields):
    self._write([{'image_id': 0, **fields},
                 {'image_id': 1, 'segmentation': [_RING]}], number=3)
    rows = self.read('coco', polygons_are='mask').rows
    self.assertEqual([self.counts(r) for r in rows],
                     [None, {0: 564, 1: 36}, {0: 600}])
    self.assertIn('have no area', self.notices)

  def test_a_damaged_ring_leaves_its_box_unlabelled(self):
    self._write([{'image_id': 0, 'bbox': [10, 1, 6, 6],
                  'segmentation': [[11, 1, 15, 6], [10, 1, 16, 1, 16, 7]]},
                 {'image_id': 0, 'segmentation': [_RING]}])
    self.read('coco', polygons_are='mask', problems=1)
    imported = self.read('coco', polygons_are='mask', leave_out=['shapes'])
    row = imported.rows[0]
    self.assertEqual(row.annotation['kind'], 'coarse_mask')
    self.assertEqual(self.counts(row), {0: 528, 1: 36, 255: 36})
    left_out, = imported.left_out
    self.assertEqual((left_out.what, left_out.name), ('shape', '0.png'))

  def test_each_cause_has_a_line_of_its_own(self):
    damaged = [{'bbox': [1, 1, 0, 2]}] * 5 + [
        {'category_id': 7, 'bbox': [1, 1, 2, 2]}] * 4
    self._write([{'image_id': 0, **a} for a in damaged])
    problems = self.read('coco', problems=9).problems
    self.assertEqual(
        check_report.report(check_report.Findings(problems, [], [])),
        [f'{number} times: an annotation cannot be read: {cause}, found id '
         f'{first}; correct it, or --leave_out=shapes: set.json (0.png)'
         for number, cause, first in (
             (5, 'a box of 0 x 2', 0), (4, 'category id 7 is not listed', 5))])

  @parameterized.parameters(
      ({'bbox': [0, 0, 0, 0]}, True),
      ({'bbox': [0, 0, 0, 0], 'segmentation': []}, True),
      ({'bbox': [0, 0, 4, 5]}, False), ({'segmentation': [_RING]}, False))
  def test_a_category_of_nothing(self, fields, is_none):
    self._write([
        {'image_id': 0, 'category_id': 0, **fields},
        {'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 4, 5]},
        {'image_id': 1, 'category_id': 0, 'bbox': [0, 0, 0, 0]}],
        ('none', 'a'))
    imported = self.read('coco', problems=not is_none)
    self.assertEqual('none' in imported.classes, not is_none)
    if is_none:
      self.assertEqual([self.counts(r) for r in imported.rows],
                       [{0: 600}, {0: 580, 1: 20}])
      self.assertIn("'none' is not a class", self.notices)

  def test_placeholder_category(self):
    self._write(
        [{'image_id': i, 'category_id': 1 + i, 'segmentation': [_RING]}
         for i in range(2)],
        [{'id': 0, 'name': 'lesions', 'supercategory': 'none'},
         {'id': 1, 'name': 'polyp', 'supercategory': 'lesions'},
         {'id': 2, 'name': 'ulcer', 'supercategory': 'lesions'}])
    imported = self.read('coco', polygons_are='mask')
    self.assertEqual(imported.classes, ('background', 'polyp', 'ulcer'))
    self.assertIn("'lesions' is not a class", self.notices)

  def test_a_name_of_two_ids_is_one_class(self):
    self._write([{'image_id': i, 'category_id': i, 'segmentation': [_RING]}
                 for i in range(2)], ('a', 'a'))
    imported = self.read('coco')
    self.assertEqual(imported.classes, ('background', 'a'))
    self.assertEqual([r.annotation['labels'] for r in imported.rows],
                     [[1], [1]])

  def test_ignored_regions(self):
    self._write([{'image_id': 0, 'segmentation': [_RING]},
                 {'image_id': 0, 'category_id': 1, 'bbox': [20, 5, 4, 5]}],
                ('a', 'ignore'))
    imported = self.read('coco')
    self.assertEqual(imported.classes, ('background', 'a'))
    self.assertEqual(self.counts(imported.rows[0]), {0: 544, 1: 36, 255: 20})

  @parameterized.parameters(
      (0.25, None), ('4', None), ('x', 'could not convert'),
      (float('inf'), 'not a finite number'), (1e9, 'not a finite number'),
      (None, 'not a number'), ([1], 'not a number'))
  def test_outlines_of_many_points(self, value, cause):
    # Long lists of plain numbers take another way than others.
    ring = [2, 3] * 10 + _RING + [value, 3]
    self._write([{'image_id': 0, 'segmentation': [ring]}], number=1)
    imported = self.read('coco', problems=cause is not None)
    if cause:
      self.assertIn(cause, imported.problems[0].what)
    else:
      points, = imported.rows[0].annotation['polygons']
      self.assertEqual(points[-1], [float(value), 3])
      self.assertEqual([type(v) for v in points[-2]], [int, int])

  @parameterized.parameters(
      ({}, ['coarse_mask', 'polygon']),
      ({'masks_are_given': True}, ['mask', 'polygon']),
      ({'polygons_are': 'mask'}, ['mask', 'mask']))
  def test_masks_are_as_weak_as_the_polygons_beside_them(self, options, kinds):
    # The package `supervision` writes run lengths for objects with holes.
    hole = np.zeros(_SIZE, bool)
    hole[5:15, 5:15] = True
    hole[8:10, 8:10] = False
    self._write([
        {'image_id': 0, 'segmentation': rle.encode_rle(hole), 'iscrowd': 1},
        {'image_id': 1, 'segmentation': [_RING]}])
    rows = self.read('coco', **options).rows
    self.assertEqual([r.annotation['kind'] for r in rows], kinds)
    self.assertEqual(self.counts(rows[0]), {0: 504, 1: 96})
    self.assertEqual('as weak as these' in self.notices, not options)

  def test_only_masks_stay_exact(self):
    self._write([{'image_id': 0, 'segmentation': rle.encode_rle(
        np.eye(*_SIZE, dtype=bool))}])
    self.assertEqual([r.annotation['kind'] for r in self.read('coco').rows],
                     ['mask', 'mask'])

  def test_files_of_other_tasks_beside_it(self):
    self._write([{'image_id': 0, 'segmentation': [_RING]}])
    content = json.loads((self.source / 'set.json').read_text())
    self.write('persons.json', content | {
        'categories': [{'id': 0, 'name': 'person', 'keypoints': ['nose']}]})
    self.write('info.json', content | {'annotations': []})
    self.write('captions.json', content | {
        'annotations': [{'image_id': 0, 'caption': 'x'}]})
    self.write('panoptic.json', content | {
        'annotations': [{'image_id': 0, 'segments_info': []}]})
    self.assertLen(self.read('coco').rows, 2)
    for name in ('persons', 'info', 'captions', 'panoptic'):
      self.assertIn(f'{name}.json holds', self.notices)

  def test_what_is_known_in_part_is_not_evaluated(self):
    for split in ('train', 'valid', 'test'):
      self._write([{'image_id': i, 'segmentation': [_RING]} for i in range(3)]
                  + [{'image_id': 0, 'segmentation': [[1, 2]],
                      'bbox': [20, 5, 4, 5]},
                     {'image_id': 1, 'keypoints': [1, 1, 2]}], number=4,
                  folder=split)
    code, out, lines = prepare_binary.run(
        f'--source={self.source}', f'--output={self.output / "set"}',
        '--polygons_are=mask', '--leave_out=shapes', '--near_copies=notice',
        '--image_size=16')
    self.assertEqual((code, lines), (0, []), out)
    for split in ('val', 'test'):
      self.assertIn(f'{split} strong 2', out)
    self.assertIn('train strong 2, train unlabelled 1, train weak 1', out)
    self.assertIn('2 pictures of val or test of which a part is unlabelled',
                  out)

  def test_export_of_a_mask_with_a_hole(self):
    self.picture('a.png')
    mask = np.zeros(_SIZE, np.uint8)
    mask[5:15, 5:25] = 1
    mask[8:10, 8:18] = 0
    self.write('m.png', mask)
    rows = [
        manifest_lib.Row('a', 'a.png', 'train', 'strong',
                         {'kind': 'mask', 'path': 'm.png'}),
        manifest_lib.Row('b', 'a.png', 'train', 'weak', {
            'kind': 'box', 'boxes': [[2, 3, 8, 9], [20, 5, 24, 10]],
            'labels': [1, 255]})]
    header = manifest_lib.Header('set', ('background', 'a'))
    registry.FORMATS['coco'].write(
        manifest_lib.Manifest(header, tuple(rows), self.source), self.output)
    content = json.loads((self.output / 'annotations.json').read_text())
    self.assertEqual(
        [(a['iscrowd'], a['area'], a['bbox']) for a in content['annotations']],
        [(0, 180, [5, 5, 20, 10]), (0, 36, [2, 3, 6, 6]),
         (0, 20, [20, 5, 4, 5])])
    self.assertEqual([c['name'] for c in content['categories']],
                     ['a', '__ignore__'])
    self.source = self.output
    back = self.read('coco')
    self.assertEqual([self.counts(r) for r in back.rows],
                     [{0: 420, 1: 180}, {0: 544, 1: 36, 255: 20}])


class LabelMeTest(source_case.ShapesCase):

  def _shape(self, kind, points, label='a', **more):
    return {'label': label, 'shape_type': kind, 'points': points, **more}

  def _write(self, name, *shapes, path='', flags=None, size=_SIZE):
    self.write(name, {
        'version': '6.3.1', 'flags': flags or {}, 'shapes': list(shapes),
        'imagePath': path, 'imageHeight': size[0], 'imageWidth': size[1]})

  @parameterized.parameters('oriented_rectangle', 'rectangle', 'rotation')
  def test_turned_rectangle(self, kind):
    self.picture('0.png')
    corners = [[4, 2], [8, 6], [6, 8], [2, 4]]
    self._write('0.json', self._shape(kind, corners))
    row, = self.read('labelme').rows
    self.assertEqual(row.annotation['polygons'], [corners])

  def test_circle_beside_a_mask(self):
    self.picture('0.png')
    content = io.BytesIO()
    Image.fromarray(np.ones((3, 4), bool)).save(content, 'PNG')
    self._write('0.json', self._shape(
        'mask', [[-1, 5], [2, 7]],
        mask=base64.b64encode(content.getvalue()).decode()), self._shape(
            'circle', [[20, 10], [22, 10]], 'b'))
    row, = self.read('labelme').rows
    self.assertEqual(row.annotation['kind'], 'coarse_mask')
    self.assertEqual(self.counts(row), {0: 579, 1: 9, 2: 12})
    self.assertIn('masks that leave their picture by a little', self.notices)
    self.assertIn('masks and ellipses on one picture', self.notices)

  @parameterized.parameters(
      '..\\images\\a.jpg', 'C:\\Users\\me\\old\\a.png', '/data/old/a.jpg',
      'other.jpg', '')
  def test_stale_path(self, path):
    self.picture('a.png', 'sub/a.png', 'other.jpg')
    self._write('sub/a.json', self._shape('polygon', _SQUARE), path=path)
    rows = {r.image: r for r in self.read('labelme').rows}
    self.assertEqual(self.counts(rows['sub/a.png']), {0: 564, 1: 36})
    self.assertIsNone(rows['a.png'].annotation)

  def test_attributes_are_no_classes(self):
    self.picture('0.png', '1.png', '2.png')
    self._write('0.json', self._shape('polygon', _SQUARE))
    self._write('1.json', flags={'blurred': True})
    self._write('2.json', flags={'blurred': False})
    imported = self.read('labelme')
    self.assertEqual(imported.classes, ('background', 'a'))
    self.assertEqual([self.counts(r) for r in imported.rows],
                     [{0: 564, 1: 36}, None, {0: 600}])
    self.assertIn('blurred: tags without any drawn shape', self.notices)

  def test_damaged_shapes(self):
    self.picture('0.png', '1.png')
    self._write('0.json', self._shape('polygon', _SQUARE), self._shape(
        'polygon', [[10, 10], [15, 14]]))
    self._write('1.json', self._shape('polygon', _SQUARE),
                {'shape_type': 'polygon', 'points': None})
    self.read('labelme', problems=2)
    imported = self.read('labelme', leave_out=['shapes'])
    self.assertEqual([self.counts(r) for r in imported.rows],
                     [{0: 544, 1: 36, 255: 20}, None])
    self.assertLen(imported.left_out, 2)

  def test_files_that_are_not_read_are_mentioned(self):
    self.picture('a.png')
    self._write('a.json', self._shape('polygon', _SQUARE))
    self.write('txt/a.txt', '0 0.5 0.5 0.1 0.1')
    self.read('labelme')
    self.assertIn('1 .txt file is not read: txt/a.txt', self.notices)


class CvatTest(source_case.ShapesCase):

  def _write(self, shapes, labels=''):
    self.picture('0.png')
    self.write('annotations.xml', (
        f'<annotations><meta><job><labels>{labels}</labels></job></meta>'
        f'<image name="0.png" width="30" height="20">{shapes}</image>'
        '</annotations>'))

  def test_skeletons_are_no_classes(self):
    labels = ''.join(
        f'<label><name>{name}</name><type>{kind}</type>{more}</label>'
        for name, kind, more in (
            ('a', 'any', ''), ('hand', 'skeleton', ''),
            ('thumb', 'points', '<parent>hand</parent>')))
    skeleton = ('<skeleton label="hand"><points label="thumb" points="4,5"/>'
                '</skeleton>')
    self._write(skeleton, labels)
    imported = self.read('cvat')
    self.assertEqual(imported.classes, ('background', 'a'))
    self.assertIsNone(imported.rows[0].annotation)
    self._write(skeleton + (
        '<box label="a" xtl="2" ytl="3" xbr="8" ybr="9"/>'), labels)
    row, = self.read('cvat').rows
    self.assertEqual(self.counts(row), {0: 564, 1: 36})
    self.assertIn('a skeleton has no area', self.notices)

  def _write_jobs(self, numbers, boxes):
    self.picture('0.png')
    for number, width in zip(numbers, boxes, strict=True):
      self.write(f'{width}.xml', (
          f'<annotations><meta><job>{number}</job></meta>'
          '<image name="0.png" width="30" height="20"><box label="a" xtl="2" '
          f'ytl="3" xbr="{2 + width}" ybr="9"/></image></annotations>'))

  def test_several_jobs(self):
    self._write_jobs(['<id>7</id>', '<id>9</id>'], [5, 6])
    rows = self.read('cvat').rows
    self.assertEqual([(r.id, r.annotator, r.subject) for r in rows],
                     [('0@job_7', 'job_7', '0'), ('0@job_9', 'job_9', '0')])
    self.assertEqual([self.counts(r) for r in rows],
                     [{0: 570, 1: 30}, {0: 564, 1: 36}])

  def test_a_picture_of_two_files_of_one_job_or_none(self):
    for numbers in (['<id>7</id>', '<id>7</id>'], ['', '']):
      self._write_jobs(numbers, [5, 6])
      self.assertIn('a picture is listed twice', str(self.read(
          'cvat', problems=1).problems[0]))

  def test_jobs_that_agree_are_one_row(self):
    self._write_jobs(['<id>7</id>', '<id>9</id>'], [5, 6])
    (self.source / '6.xml').write_text(
        (self.source / '5.xml').read_text().replace('>7<', '>9<'))
    row, = self.read('cvat').rows
    self.assertEqual((row.id, row.annotator), ('0', ''))

  def test_turned_box(self):
    self._write('<box label="a" xtl="4" ytl="4" xbr="14" ybr="8" '
                'rotation="90"/>', '<label><name>a</name></label>')
    row, = self.read('cvat').rows
    np.testing.assert_allclose(
        row.annotation['polygons'],
        [[[11, 1], [11, 11], [7, 11], [7, 1]]], atol=1e-6)

  @parameterized.parameters(20, 90, 135.5, 270, 359, -30)
  def test_turned_box_is_that_of_the_canvas(self, angle_deg):
    """CVAT's canvas (cvat-canvas, `withTopEdge` in rotatedShapeFitter.ts at
    commit 3604092): the middle of the upper edge lies half a height from the
    centre, in the direction (sin a, -cos a), with y downwards.
    """
    self._write('<box label="a" xtl="8" ytl="6" xbr="20" ybr="14" '
                f'rotation="{angle_deg}"/>', '<label><name>a</name></label>')
    row, = self.read('cvat').rows
    corners = np.array(row.annotation['polygons'][0])
    angle = np.deg2rad(angle_deg)
    upper = np.array([np.sin(angle), -np.cos(angle)])
    np.testing.assert_allclose(corners.mean(0), [14, 10], atol=1e-6)
    np.testing.assert_allclose(
        corners[:2].mean(0), [14, 10] + 4 * upper, atol=1e-6)
    np.testing.assert_allclose(
        corners[1] - corners[0], 12 * np.array([-upper[1], upper[0]]),
        atol=1e-6)

  def test_a_damaged_mask_leaves_its_box_unlabelled(self):
    self._write('<mask label="a" left="2" top="3" width="6" height="6" rle="9"'
                '/><box label="a" xtl="20" ytl="5" xbr="24" ybr="10"/>',
                '<label><name>a</name></label>')
    row, = self.read('cvat', leave_out=['shapes']).rows
    self.assertEqual(self.counts(row), {0: 544, 1: 20, 255: 36})


if __name__ == '__main__':
  absltest.main()
