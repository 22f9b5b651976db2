"""Tests of data_prep.formats: a set survives export and import unchanged."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import names
from data_prep.formats import registry
from data_prep.shared import geometry
import numpy as np
from PIL import Image

from tests import source_case

_CLASSES = ('background', 'a', 'b')
_NUM_IMAGES = 20
# Pictures can be written in these formats; DICOM segmentations need series.
_MODULES = {name: module for name, module in registry.FORMATS.items()
            if name != 'dicom_seg'}


def _truth(i):
  """Returns discs of two classes; image 3 shows none."""
  rng = np.random.default_rng(i)
  height, width = 40 + i, 57 - i
  y, x = np.mgrid[:height, :width]
  label = np.zeros((height, width), np.uint8)
  for value in (1, 2) if i != 3 else ():
    cy, cx = rng.integers(8, height - 8), rng.integers(8, width - 8)
    label[(y - cy) ** 2 / 30 + (x - cx) ** 2 / 50 < 1] = value
  return label


def _annotation(kind, label):
  objects = geometry.components(label)
  labels = [value for value, _ in objects]
  first = lambda mask: (np.argwhere(mask)[0][::-1] + 0.5).tolist()
  last = lambda mask: (np.argwhere(mask)[-1][::-1] + 0.5).tolist()
  if kind == 'tag':
    return {'kind': kind, 'labels': sorted(set(labels))}
  draw = {
      'mask': rle.encode_rle,
      'coarse_mask': rle.encode_rle,
      'box': geometry.tight_box,
      'polygon': lambda m: np.round(geometry.coarse_polygon(
          m, np.random.default_rng(0), num_vertices=8, jitter=0.1), 2).tolist(),
      'points': first,
      'line': lambda m: [first(m), last(m)],
      'scribble': lambda m: [first(m), last(m)],
      'extreme_points': lambda m: [first(m), last(m), [2.5, 3.25], [9, 4]],
      'ellipse': lambda m: [*first(m), 6.0, 4.25, 30.0],
  }[kind]
  annotation = {'kind': kind, 'labels': labels,
                annotation_kinds.TABLE[kind].field: [
                    draw(m) for _, m in objects]}
  if annotation_kinds.TABLE[kind].has_width:
    annotation['width'] = 2.5
  if kind == 'scribble':
    annotation['strokes'].append([[1.5, 1.5], [5.0, 1.5]])
    annotation['labels'].append(0)
  return annotation


def _options(kind):
  options = formats.Options(classes=_CLASSES)
  if kind in ('coarse_mask', 'scribble'):
    options = options._replace(masks_are=kind)
  if kind == 'line':
    options = options._replace(lines_are=kind, stroke_width=2.5)
  if kind == 'extreme_points':
    options = options._replace(points_are=kind)
  return options


class RoundTripTest(source_case.SourceCase):

  def _manifest(self, kind):
    rows = []
    for i in range(_NUM_IMAGES):
      label = _truth(i)
      pixels = np.random.default_rng(i).integers(
          256, size=(*label.shape, 3), dtype=np.uint8)
      Image.fromarray(pixels[..., 0] if i % 2 else pixels).save(
          self.source / f'p{i:02d}.png')
      rows.append(manifest_lib.Row(
          f'p{i:02d}', f'p{i:02d}.png', ('train', 'val', 'test')[i % 3], 'weak',
          _annotation(kind, label)))
    header = manifest_lib.Header('set', _CLASSES)
    return manifest_lib.Manifest(header, tuple(rows), self.source)

  def _pass_through(self, name, manifest, options):
    """Writes a manifest in a format and reads it back."""
    number = len(list(self.source.glob('out*')))
    output = self.source / f'out{number}'
    back = self.source / f'back{number}'
    output.mkdir()
    back.mkdir()
    registry.FORMATS[name].write(manifest, output)
    self.assertEqual(registry.detect_format(output), name)
    imported = registry.read(name, output, back, options)
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, _CLASSES)
    return manifest_lib.Manifest(
        manifest_lib.Header('set', imported.classes, imported.root),
        tuple(imported.rows), back)

  @parameterized.parameters(
      (name, kind) for name, module in _MODULES.items()
      for kind in module.HOLDS)
  def test_there_and_back(self, name, kind):
    before = self._manifest(kind)
    after = self._pass_through(name, before, _options(kind))
    self.assertEqual([r.id for r in after.rows], [r.id for r in before.rows])
    for i, (old, new) in enumerate(zip(before.rows, after.rows, strict=True)):
      with self.subTest(old.id):
        self.assertEqual(new.annotation['kind'], kind)
        if name not in names.VOLUMES:  # They cannot store splits.
          self.assertEqual(new.split, old.split)
        size = _truth(i).shape
        # The pixels are equal: corners keep all their digits, in YOLO 1e-4 of a
        # pixel.
        np.testing.assert_array_equal(
            rasterize.rasterize(new.annotation, size=size, root=after.root),
            rasterize.rasterize(old.annotation, size=size, root=before.root))
        if 'path' not in new.annotation and 'rles' not in new.annotation:
          self.assertEqual(new.annotation, old.annotation)
    again = self._pass_through(name, after, _options(kind))
    place = lambda row: row._replace(image='', annotation={
        **row.annotation, 'path': ''})
    self.assertEqual([place(r) for r in again.rows],
                     [place(r) for r in after.rows])

  def test_a_format_that_holds_something_is_written(self):
    for name, module in registry.FORMATS.items():
      self.assertEqual(hasattr(module, 'write'), name in names.WRITES, name)

  def test_fields_that_a_format_does_not_hold(self):
    manifest = self._manifest('mask')
    self.assertEqual(registry.lost_fields(manifest, 'labelme'), [])
    rows = [r._replace(annotator='anna', spacing_mm=(1, 1), subject='p00')
            for r in manifest.rows]
    manifest = manifest._replace(rows=tuple(rows))
    self.assertEqual(registry.lost_fields(manifest, 'labelme'),
                     ['subject', 'annotator', 'spacing_mm'])
    self.assertEqual(registry.lost_fields(manifest, 'nifti'),
                     ['subject', 'annotator'])
    for name in ('coco', 'label_studio', 'geojson'):
      self.assertEqual(registry.lost_fields(manifest, name), ['spacing_mm'])
    # This id shows the subject, which is the folder of the picture.
    rows = [r._replace(id=f'p00/{r.id}') for r in rows]
    self.assertEqual(registry.lost_fields(
        manifest._replace(rows=tuple(rows)), 'labelme'),
                     ['annotator', 'spacing_mm'])

  def test_same_masks_in_every_format(self):
    before = self._manifest('mask')
    for name, module in _MODULES.items():
      if 'mask' in module.HOLDS:
        after = self._pass_through(name, before, _options('mask'))
        for i, row in enumerate(after.rows):
          np.testing.assert_array_equal(
              rasterize.rasterize(row.annotation, size=_truth(i).shape,
                                  root=after.root), _truth(i), name)


class ReadTest(source_case.SourceCase):
  """Tests of reading files as other tools write them."""

  def _picture(self, name, size=(20, 30), mode='RGB'):
    path = self.source / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1]).save(path)

  def _read(self, name, **options):
    self.assertEqual(registry.detect_format(self.source), name)
    return registry.read(
        name, self.source, self.output, formats.Options(**options))

  def _coco(self, annotations, **more):
    self._picture('images/a.jpg')
    self.write('instances_val2017.json', {
        'info': {}, 'licenses': [], 'images': [
            {'id': 7, 'file_name': 'a.jpg', 'height': 20, 'width': 30}],
        'categories': [{'id': 3, 'name': 'polyp', 'supercategory': ''},
                       {'id': 1, 'name': 'tool'}],
        'annotations': annotations} | more)

  def test_coco(self):
    self._coco([
        {'id': 1, 'image_id': 7, 'category_id': 3, 'iscrowd': 0, 'area': 9,
         'bbox': [2, 3, 5.5, 4], 'segmentation': [[2, 3, 7.5, 3, 2, 7]]}])
    imported = self._read('coco')
    self.assertEqual(imported.problems, [])
    self.assertEqual(imported.classes, ('background', 'tool', 'polyp'))
    row, = imported.rows
    self.assertEqual((row.id, row.image, row.split),
                     ('a', 'images/a.jpg', 'val'))
    self.assertEqual(row.annotation, {
        'kind': 'polygon', 'polygons': [[[2, 3], [7.5, 3], [2, 7]]],
        'labels': [2]})

  def test_coco_box_and_polygon_of_one_picture_become_a_coarse_mask(self):
    entry = {'image_id': 7, 'category_id': 3}
    self._coco([entry | {'id': 1, 'bbox': [2, 3, 5.5, 4]},
                entry | {'id': 2, 'segmentation': [[1, 1, 9, 1, 5, 8.5]]}])
    imported = self._read('coco')
    row, = imported.rows
    self.assertEqual(row.annotation['kind'], 'coarse_mask')
    self.assertEqual(row.annotation['labels'], [2, 2])
    expected = np.zeros((20, 30), bool)
    # The box ends at 7.5, which is the centre of a pixel; this pixel is not
    # inside.
    expected[3:7, 2:7] = True
    np.testing.assert_array_equal(
        rle.decode_rle(row.annotation['rles'][0]), expected)
    self.assertIn('polygons and boxes on one picture are drawn as one coarse '
                  'mask', ' '.join(imported.notices))

  def test_coco_polygons_that_are_exact(self):
    self._coco([{'id': 1, 'image_id': 7, 'category_id': 3,
                 'segmentation': [[2, 3, 8, 3, 8, 7, 2, 7]]}])
    annotation = self._read('coco', polygons_are='mask').rows[0].annotation
    self.assertEqual(annotation['kind'], 'mask')
    expected = np.zeros((20, 30), bool)
    expected[3:7, 2:8] = True
    np.testing.assert_array_equal(
        rle.decode_rle(annotation['rles'][0]), expected)

  def test_listed_without_shape_or_not_listed(self):
    self._coco([])
    self._picture('images/b.jpg')
    listed, free = self._read('coco').rows
    self.assertEqual(listed.annotation,
                     {'kind': 'box', 'boxes': [], 'labels': []})
    self.assertEqual((free.id, free.role, free.annotation),
                     ('b', 'unlabelled', None))

  @parameterized.parameters(
      ({'image_id': 8, 'category_id': 3, 'bbox': [1, 1, 2, 2]},
       'image id 8 is not listed'),
      ({'image_id': 7, 'category_id': 4, 'bbox': [1, 1, 2, 2]},
       'category id 4 is not listed'),
      ({'image_id': 7, 'category_id': 3, 'bbox': [1, 1, 0, 2]}, 'a box of 0'),
      ({'image_id': 7, 'category_id': 3, 'bbox': [1, 1, 2]}, 'not enough'),
      ({'image_id': 7, 'category_id': 3, 'bbox': ['x', 1, 2, 2]}, 'x'),
      ({'image_id': 7, 'category_id': 3, 'bbox': [1e999, 1, 2, 2]}, 'finite'),
      ({'image_id': 7, 'category_id': 3, 'segmentation': [[1, 2, 3, 4]]},
       'at least 3 points'),
      ({'image_id': 7, 'category_id': 3,
        'segmentation': {'size': [3, 3], 'counts': [9]}}, '3 x 3'),
      ({'category_id': 3}, "no 'image_id'"),
      ([], 'of a wrong type'),
  )
  def test_wrong_coco(self, annotation, expected):
    self._coco([annotation])
    problem, = self._read('coco').problems
    self.assertIn(expected, str(problem))
    self.assertIn('instances_val2017.json', str(problem))

  def test_labelme(self):
    self._picture('p1/a.png')
    shapes = [
        {'label': 'polyp', 'shape_type': 'rectangle', 'flags': {},
         'points': [[9, 8], [2, 3]]},
        {'label': 'tool', 'shape_type': 'rectangle',
         'points': [[1, 1], [4, 4]]}]
    self.write('p1/a.json', {
        'version': '5.0', 'flags': {}, 'shapes': shapes, 'imagePath': 'a.png',
        'imageData': None, 'imageHeight': 20, 'imageWidth': 30})
    imported = self._read('labelme')
    self.assertEqual(imported.classes, ('background', 'polyp', 'tool'))
    row, = imported.rows
    self.assertEqual((row.id, row.subject), ('p1/a', 'p1'))
    self.assertEqual(row.annotation, {
        'kind': 'box', 'boxes': [[2, 3, 9, 8], [1, 1, 4, 4]], 'labels': [1, 2]})

  def test_labelme_of_another_size(self):
    self._picture('a.png')
    self.write('a.json', {
        'shapes': [{'label': 'x', 'points': [[1, 2]], 'shape_type': 'point'}],
        'imagePath': 'a.png', 'imageHeight': 40, 'imageWidth': 30})
    problem, = self._read('labelme').problems
    self.assertIn('not as large as listed, 40 x 30, found 20 x 30',
                  str(problem))

  def test_cvat(self):
    self._picture('a.png')
    self.write('annotations.xml', """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <meta><task><labels><label><name>polyp</name></label></labels></task></meta>
  <image id="0" name="a.png" subset="Test" width="30" height="20">
    <mask label="polyp" rle="1, 2, 1, 2" left="4" top="5" width="3" height="2"/>
  </image></annotations>""")
    row, = self._read('cvat').rows
    self.assertEqual(row.split, 'test')
    expected = np.zeros((20, 30), bool)
    expected[5, 5:7] = expected[6, 5:7] = True
    np.testing.assert_array_equal(
        rle.decode_rle(row.annotation['rles'][0]), expected)

  def test_entities_are_not_expanded(self):
    self._picture('a.png')
    self.write('annotations.xml', '<!DOCTYPE x [<!ENTITY a "b">]>'
               '<annotations><image name="&a;"/></annotations>')
    problem, = self._read('cvat').problems
    self.assertIn('DTD or entities', str(problem))

  def test_voc_counts_from_one(self):
    self._picture('JPEGImages/a.jpg')
    self.write('ImageSets/Main/train.txt', 'a\n')
    self.write('Annotations/a.xml', """<annotation>
      <filename>a.jpg</filename>
      <size><width>30</width><height>20</height><depth>3</depth></size>
      <object><name>polyp</name><bndbox><xmin>1</xmin><ymin>2</ymin>
        <xmax>30</xmax><ymax>20</ymax></bndbox></object></annotation>""")
    row, = self._read('voc').rows
    self.assertEqual(row.split, 'train')
    self.assertEqual(row.annotation['boxes'], [[0, 1, 30, 20]])

  def test_yolo(self):
    for name in ('a', 'b', 'c'):
      self._picture(f'images/train/{name}.png')
    self.write('data.yaml', 'names: [polyp, tool]\n')
    self.write('labels/train/a.txt', '1 0.5 0.5 0.2 0.4\n')
    self.write('labels/train/b.txt', '')
    imported = self._read('yolo')
    self.assertEqual(imported.problems, [])
    a, b, c = imported.rows
    self.assertEqual(a.annotation, {
        'kind': 'box', 'boxes': [[12, 6, 18, 14]], 'labels': [2]})
    self.assertEqual(b.annotation['boxes'], [])
    self.assertEqual(c.role, 'unlabelled')
    self.assertEqual({r.split for r in imported.rows}, {'train'})

  def test_table(self):
    for name in ('a', 'b', 'c'):
      self._picture(f'{name}.png')
    self.write('set.csv', """\
image,subject,split,box,label,mask,spacing_y,spacing_x
a.png,s1,train,1 2 5 6,polyp,,0.5,0.25
a.png,s1,train,3 3 9 9,tool,,0.5,0.25
b.png,s2,train,,,masks/b.png,,
c.png,s3,train,,,,,
""")
    self._picture('masks/b.png', mode='L')
    imported = self._read('table')
    self.assertEqual(imported.problems, [])
    a, b, c = imported.rows
    self.assertEqual(a.annotation, {
        'kind': 'box', 'boxes': [[1, 2, 5, 6], [3, 3, 9, 9]],
        'labels': [1, 2]})
    self.assertEqual((a.spacing_mm, a.subject), ((0.5, 0.25), 's1'))
    self.assertEqual(b.annotation, {'kind': 'mask', 'path': 'masks/b.png'})
    self.assertEqual(c.annotation, {'kind': 'box', 'boxes': [], 'labels': []})

  def test_folder(self):
    self._picture('train/images/p1/a.jpg', mode='L')
    self._picture('train/images/p1/b.jpg', mode='L')
    self._picture('test/images/p2/c.jpg', mode='L')
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 4:8] = 255
    for name in ('train/masks/p1/a_mask.png', 'test/masks/p2/c_mask.png',
                 'train/scribbles/p1/a.png', 'train/masks/p1/orphan.png'):
      path = self.source / name
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(mask).save(path)
    imported = self._read('folder')
    self.assertIn('a mask without a picture', str(imported.problems[0]))
    rows = {row.id: row for row in imported.rows}
    self.assertEqual(
        {k: (r.split, r.subject) for k, r in rows.items()},
        {'p1/a': ('train', 'p1'), 'p1/b': ('train', 'p1'),
         'p2/c': ('test', 'p2')})
    self.assertEqual(rows['p1/a'].annotation, {
        'kind': 'mask', 'path': 'train/masks/p1/a_mask.png',
        'values': {'0': 0, '255': 1}})
    self.assertEqual(rows['p1/b'].role, 'unlabelled')
    self.assertEqual(
        imported.weak['p1/a']['path'], 'train/scribbles/p1/a.png')

  def test_deep_pictures_are_windowed(self):
    self._picture('images/a.png')
    (self.source / 'images/a.png').unlink()
    values = np.linspace(0, 4000, 600).reshape(20, 30)
    np.save(self.source / 'images/a.npy', values.astype(np.float32))
    Image.fromarray(values.astype(np.uint16)).save(
        self.source / 'images/b.png')
    imported = self._read('folder', intensity_range=(1000.0, 3000.0))
    self.assertEqual(imported.problems, [])
    self.assertEqual([r.image for r in imported.rows],
                     ['images/a.png', 'images/b.png'])
    for row in imported.rows:
      image = np.asarray(Image.open(self.output / row.image))
      self.assertEqual(image.dtype, np.uint8)
      expected = np.clip((values - 1000) / 2000 * 255, 0, 255)
      np.testing.assert_allclose(image, expected, atol=1)

  def test_what_is_read_passes_the_check(self):
    self._coco([{'id': 1, 'image_id': 7, 'category_id': 3,
                 'bbox': [2, 3, 5.5, 4]}])
    imported = self._read('coco')
    rows = [r._replace(split='train', role=r.role or 'weak')
            for r in imported.rows]
    manifest = manifest_lib.write_manifest(
        self.output / 'manifest.jsonl', manifest_lib.Header(
            'set', imported.classes, imported.root), rows)
    problems = [str(p) for p in check.check_manifest(manifest)]
    self.assertLen(problems, 1)
    self.assertIn('no strong training instance', problems[0])


if __name__ == '__main__':
  absltest.main()
