"""Tests reading VOC, YOLO and tables as tools and converters write them."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import rasterize
from data_prep.formats import registry
import numpy as np

from tests import source_case

_SIZE = source_case.SIZE
# The colours of VOC's palette for the classes 0, 1 and 2.
_COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)


def _label():
  label = np.zeros(_SIZE, np.uint8)
  label[3:9, 2:8] = 1
  label[12:14, 20:25] = 2
  return label


class VocTest(source_case.ShapesCase):

  def _object(self, box=(3, 4, 8, 9), name='a', more=''):
    bndbox = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(
        ('xmin', 'ymin', 'xmax', 'ymax'), box, strict=bool(box)))
    bndbox = f'<bndbox>{bndbox}</bndbox>' if box else ''
    return f'<object><name>{name}</name>{bndbox}{more}</object>'

  def _write(self, stem, *objects, filename=None, size=_SIZE):
    self.picture(f'images/{stem}.jpg')
    self.write(f'annotations/{stem}.xml', (
        f'<annotation><filename>{filename or f"{stem}.jpg"}</filename><size>'
        f'<width>{size[1]}</width><height>{size[0]}</height></size>'
        f'{"".join(objects)}</annotation>'))

  def test_other_suffix(self):
    for stem, name in (('a', 'a'), ('b', 'b.png'), ('c', 'old-name.jpg'),
                       ('d', 'a.jpg')):
      self._write(stem, self._object(), filename=name)
    self._write('e', self._object(), size=(0, 0))
    rows = self.read('voc').rows
    self.assertEqual([r.id for r in rows], list('abcde'))
    for row in rows:
      self.assertEqual(row.annotation['boxes'], [[2, 3, 8, 9]])

  def test_the_stored_name_decides_where_the_stem_is_of_no_picture(self):
    self._write('a', self._object())
    (self.source / 'images/a.jpg').rename(self.source / 'images/b.jpg')
    self.write('annotations/a.xml', (
        '<annotation><filename>b.jpg</filename></annotation>'))
    row, = self.read('voc', classes=('background', 'a')).rows
    self.assertEqual((row.id, row.role), ('b', ''))

  @parameterized.parameters(
      ((0, 4, 8, 9), None, [0, 4, 8, 9]), ((1, 4, 8, 9), None, [0, 3, 8, 9]),
      ((1, 4, 8, 9), 0, [1, 4, 8, 9]), ((0, 4, 8, 9), 1, [-1, 3, 8, 9]),
      (('-3e-05', 4, 8, 9), None, [-3e-05, 4, 8, 9]),
      # A negative corner does not show that coordinates count from 0, because
      # boxes may extend beyond the image. It is clipped at the edge.
      ((-2, 4, 8, 9), None, [0, 3, 8, 9]))
  def test_where_boxes_count_from(self, box, origin, expected):
    self._write('a', self._object(box))
    self._write('b', self._object((5, 6, 7, 8)))
    first, second = self.read('voc', voc_boxes_from=origin).rows
    self.assertEqual(first.annotation['boxes'], [expected])
    # All boxes of a set are moved alike.
    moved = expected[1] - box[1]
    self.assertEqual(second.annotation['boxes'], [[5 + moved, 6 + moved, 7, 8]])
    self.assertEqual('count from 0' in self.notices,
                     origin is None and moved == 0)

  def test_polygons(self):
    flat = ''.join(f'<x{i}>{x}</x{i}><y{i}>{y}</y{i}>' for i, (x, y) in
                   enumerate([[3, 4], [9, 4], [9, 10], [3, 10]], start=1))
    points = ''.join(f'<pt><x>{x}</x><y>{y}</y></pt>'
                     for x, y in [[2, 3], [8, 3], [8, 9], [2, 9]])
    self._write('a', self._object(more=f'<polygon>{flat}</polygon>'))
    self._write('b', self._object(
        (), more=f'<deleted>0</deleted><polygon>{points}</polygon>'))
    self._write('c', self._object(
        (), more=f'<deleted>1</deleted><polygon>{points}</polygon>'))
    rows = self.read('voc').rows
    self.assertEqual([r.annotation['kind'] for r in rows], ['polygon'] * 3)
    self.assertEqual([self.counts(r) for r in rows],
                     [{0: 564, 1: 36}, {0: 564, 1: 36}, {0: 600}])

  def test_objects_without_area(self):
    self._write('a', self._object(()), self._object())
    self._write('b', self._object((20, 5, 'x', 9)))
    imported = self.read('voc', leave_out=['shapes'])
    self.assertEqual([self.counts(r) for r in imported.rows], [None, None])
    self.assertLen(imported.left_out, 1)

  @parameterized.parameters(
      ('background:::\na:::\nb:::\n', _COLOURS),
      ('a:::\nb:::\n', _COLOURS),
      ('a\nb\n', np.arange(3, dtype=np.uint8)),
      ('background:0,0,0::\nb:0,128,0::\na:128,0,0::\n', _COLOURS))
  def test_masks_of_converters(self, labelmap, colours):
    # datumaro 1.13.12 writes a label map without colours, and masks in the
    # colours of VOC.
    self.picture('JPEGImages/a.jpg')
    self.write('labelmap.txt', labelmap)
    self.write('SegmentationClass/a.png', colours[_label()])
    imported = self.read('voc')
    self.assertEqual(sorted(imported.classes), ['a', 'b', 'background'])
    row, = imported.rows
    label = rasterize.rasterize(row.annotation, size=_SIZE, root=self.root)
    for value, name in ((1, 'a'), (2, 'b')):
      np.testing.assert_array_equal(
          label == imported.classes.index(name), _label() == value)

  @parameterized.parameters(
      ('background\na\nignore\n', {}, {0: 554, 1: 36, 255: 10}),
      ('background\na\na\n', {}, {0: 554, 1: 46}),
      ('background\na\nb\n', {'classes': ('background', 'b')},
       {0: 590, 1: 10}),
      ('background\na\nb\n', {'classes': ('background', 'x', 'y')},
       {0: 554, 1: 36, 2: 10}))
  def test_names_of_stored_values(self, labelmap, options, expected):
    self.picture('JPEGImages/a.jpg')
    self.write('labelmap.txt', labelmap)
    self.write('SegmentationClass/a.png', _label())
    row, = self.read('voc', **options).rows
    self.assertEqual(self.counts(row), expected)


class YoloTest(source_case.ShapesCase):

  _BOX = '0 0.5 0.5 0.2 0.5\n'  # In pixels, this box is [12, 18) x [5, 15).

  @parameterized.parameters(
      ('images/{}.png', 'annotations/{}.txt'), ('{}.png', 'txt/{}.txt'),
      ('train/p/{}.png', 'boxes/p/{}.txt'), ('{}.png', '{}.txt'))
  def test_labels_in_folders_of_other_names(self, image, label):
    self.picture(*(image.format(i) for i in range(3)))
    self.write(label.format(0), self._BOX)
    self.write(label.format(1), '')
    rows = self.read('yolo', classes=('background', 'a')).rows
    self.assertEqual([self.counts(r) for r in rows],
                     [{0: 540, 1: 60}, {0: 600}, None])

  @parameterized.parameters('a report\n', '2024-01-01 0.1\n', '0 12 3 4 5\n')
  def test_text_that_is_no_label(self, text):
    self.picture('0.png', '1.png')
    self.write('txt/0.txt', text)
    # The problem is a question about what the text files are.
    imported = self.read('folder', problems=1)
    self.assertEqual([r.role for r in imported.rows], ['unlabelled'] * 2)
    self.assertIn('txt/0.txt', str(imported.problems[0]))

  def test_masks_count_more_than_labels_elsewhere(self):
    self.picture('images/0.png')
    self.write('masks/0.png', _label())
    self.write('txt/0.txt', self._BOX)
    self.assertEqual(registry.detect_format(self.source), 'folder')
    row, = self.read('yolo', False, classes=('background', 'a')).rows
    self.assertEqual(row.annotation['kind'], 'box')
    self.assertIn('masks/0.png', self.notices)

  def test_poses(self):
    self.picture('images/0.png', 'images/1.png')
    self.write('data.yaml', 'names: [a]\nkpt_shape: [2, 2]\n')
    self.write('labels/0.txt', self._BOX.strip() + ' 0.5 0.5 0.6 0.6\n')
    self.write('labels/1.txt', self._BOX)
    first, second = self.read('yolo').rows
    self.assertEqual(first.annotation, second.annotation)
    self.assertIn('pose lines', self.notices)
    self.write('data.yaml', 'names: [a]\n')
    self.write('labels/0.txt', self._BOX.strip() + ' 0.5 0.5 2 0.6 0.6 1\n')
    first, second = self.read('yolo').rows
    self.assertEqual(first.annotation, second.annotation)

  @parameterized.parameters(
      '0.5 0.5 0.6 0.6', '0.5 0.5 0.6 0.6 0 0', '0.5 0.5 1 0.6 0.6 1',
      '0.5 0.5 1 0 0 0')
  def test_poses_that_nothing_but_their_points_shows(self, points):
    self.picture('images/0.png', 'images/1.png')
    self.write('data.yaml', 'names: [a]\n')
    boxes = [f'0 0.5 0.{i} 0.4 0.4' for i in (46, 47, 48, 50, 52, 54)]
    self.write('labels/0.txt', '\n'.join(f'{b} {points}' for b in boxes))
    self.write('labels/1.txt', '')
    row, _ = self.read('yolo').rows
    self.assertEqual(row.annotation['kind'], 'box')
    self.assertIn('pose lines', self.notices)
    # If a line with another number of coordinates occurs, the lines cannot be
    # boxes with a fixed number of keypoints, so all of them are outlines.
    self.write('labels/1.txt', '0 0.1 0.1 0.5 0.1 0.3 0.5\n')
    self.assertEqual(
        [r.annotation['kind'] for r in self.read('yolo').rows],
        ['polygon'] * 2)

  def test_a_damaged_line_leaves_its_picture_unlabelled(self):
    self.picture('images/0.png', 'images/1.png')
    self.write('data.yaml', 'names: [a]\n')
    self.write('labels/0.txt', self._BOX + '0 0.5\n')
    self.write('labels/1.txt', self._BOX)
    self.read('yolo', problems=1)
    rows = self.read('yolo', leave_out=['shapes']).rows
    self.assertEqual([self.counts(r) for r in rows], [None, {0: 540, 1: 60}])

  @parameterized.parameters(
      ('[a, a]', {}, ('background', 'a'), [1, 1]),
      ('[ignore, a]', {}, ('background', 'a'), [255, 1]),
      ('[a, b]', {'classes': ('background', 'b')}, None, [1]),
      ('[a, b]', {'classes': ('background', 'x', 'y')}, None, [1, 2]))
  def test_names(self, names, options, classes, labels):
    self.picture('images/0.png')
    self.write('data.yaml', f'names: {names}\n')
    self.write('labels/0.txt', self._BOX + '1 0.1 0.1 0.1 0.1\n')
    imported = self.read('yolo', **options)
    self.assertEqual(imported.classes, classes or options['classes'])
    self.assertEqual(imported.rows[0].annotation['labels'], labels)


class TableTest(source_case.ShapesCase):

  def test_what_cannot_be_used_is_unlabelled(self):
    self.picture('a.png', 'b.png', 'c.png')
    self.write('set.csv', 'image,box,label\na.png,1 2 5 6,x\nb.png,,x\n'
                          'c.png,1 2 5,x\n')
    self.read('table', problems=1)
    imported = self.read('table', leave_out=['shapes'])
    self.assertEqual([self.counts(r) for r in imported.rows],
                     [{0: 584, 1: 16}, None, None])
    self.assertLen(imported.left_out, 1)
    self.assertIn('lines with a label and no shape', self.notices)

  def test_a_mask_beside_shapes(self):
    self.picture('a.png')
    self.write('m.png', _label())
    self.write('set.csv', 'image,box,label,mask\na.png,1 2 5 6,x,\n'
                          'a.png,,,m.png\n')
    imported = self.read('table')
    self.assertEqual(imported.rows[0].annotation['kind'], 'mask')
    self.assertEqual(imported.weak['a']['kind'], 'box')
    self.write('n.png', _label())
    self.write('set.csv', 'image,mask\na.png,m.png\na.png,n.png\n')
    self.read('table', problems=1)


if __name__ == '__main__':
  absltest.main()
