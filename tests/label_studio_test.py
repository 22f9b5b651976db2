"""Tests reading Label Studio's JSON, and the brush masks in it."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.drawing import rasterize
from data_prep.formats import brush_rle
from data_prep.formats import label_studio
import numpy as np

from tests import source_case

_SIZE = source_case.SIZE  # 20 high and 30 wide.
_SQUARE = {'x': 10, 'y': 15, 'width': 20, 'height': 30, 'rotation': 0}


def _region(kind, label='a', number=0, **value):
  value |= {} if label is None else {kind: [label]}
  return {'id': f'r{number}', 'type': kind, 'from_name': 'label',
          'to_name': 'image', 'original_width': 30, 'original_height': 20,
          'image_rotation': 0, 'value': value}


def _task(*regions, image='a.png', completed_by=1, **more):
  return {'id': 1, 'data': {'image': image}, 'predictions': [], 'annotations': [
      {'id': 5, 'completed_by': completed_by, 'was_cancelled': False,
       'result': list(regions)}], **more}


def _bits(*runs):
  """Packs runs of 20 x 30 RGBA pixels, each a string of bits, by hand."""
  text = f'{2400:032b}' + '00111' + '0010' '0011' '0111' '1111' + ''.join(runs)
  text += '0' * (-len(text) % 8)
  return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


# A row and 2 pixels without paint; pixels of alpha 1, 0 and 255; the rest.
_BRUSH = _bits(
    f'111{32 * 4 - 1:016b}{0:08b}', '000011', f'{7:08b}' * 3 + f'{1:08b}',
    '100011', f'{0:08b}', '100011', f'{255:08b}',
    f'111{2400 - 35 * 4 - 1:016b}{0:08b}')


class RegionsTest(source_case.ShapesCase):

  def _read(self, *tasks, pictures=('a.png',), **options):
    self.picture(*pictures)
    self.write('export.json', list(tasks))
    return self.read('label_studio', **options)

  @parameterized.parameters(
      (_region('rectanglelabels', **_SQUARE), 'box', [3, 3, 9, 9], 36),
      (_region('rectanglelabels', **_SQUARE | {'rotation': 360}), 'box',
       [3, 3, 9, 9], 36),
      # Turned by 90 degrees about its corner (9, 5), the box of 6 x 4 pixels
      # reaches from 5 to 9 along x and from 5 to 11 along y.
      (_region('rectanglelabels', x=30, y=25, width=20, height=20,
               rotation=90), 'polygon', [[9, 5], [9, 11], [5, 11], [5, 5]],
       24),
      (_region('polygonlabels', points=[[10, 15], [30, 15], [30, 45], [10, 45]],
               closed=True), 'polygon', [[3, 3], [9, 3], [9, 9], [3, 9]], 36),
      # In each quarter, dx 0.5 has the centres dy 0.5, 1.5 and 2.5 inside, and
      # dx 1.5 has two.
      (_region('ellipselabels', x=50, y=50, radiusX=10, radiusY=10,
               rotation=90), 'ellipse', [15, 10, 3, 2, 90], 20),
  )
  def test_shapes(self, region, kind, value, number):
    row, = self._read(_task(region)).rows
    self.assertEqual(row.annotation, {
        'kind': kind, 'labels': [1],
        {'box': 'boxes'}.get(kind, f'{kind}s'): [value]})
    self.assertEqual(self.counts(row), {0: 600 - number, 1: number})

  def test_keypoint(self):
    row, = self._read(_task(
        _region('keypointlabels', x=50, y=25, width=0.3))).rows
    self.assertEqual(row.annotation, {
        'kind': 'points', 'points': [[15, 5]], 'labels': [1]})

  def test_brush(self):
    row, = self._read(_task(
        _region('brushlabels', format='rle', rle=_BRUSH))).rows
    self.assertEqual(row.annotation['kind'], 'mask')
    label = rasterize.rasterize(row.annotation, size=_SIZE, root=self.root)
    self.assertEqual(np.argwhere(label).tolist(), [[1, 2], [1, 4]])

  def test_shape_and_labels_of_two_entries(self):
    # The controls Rectangle and Labels write an entry each.
    row, = self._read(_task(
        _region('rectangle', None, **_SQUARE),
        _region('labels', 'b', **_SQUARE),
        _region('textarea', None, text=['why']))).rows
    self.assertEqual(row.annotation['boxes'], [[3, 3, 9, 9]])
    self.assertIn('textarea has no area', self.notices)

  def test_choices(self):
    tags = {'type': 'choices', 'id': 'x', 'to_name': 'image', 'value': {
        'choices': ['a', 'b']}}
    row, = self._read(_task(tags)).rows
    self.assertEqual(row.annotation, {'kind': 'tag', 'labels': [1, 2]})

  def test_choice_of_a_region_is_its_class_if_it_has_none(self):
    choice = _region('choices', None, choices=['b'])
    row, = self._read(_task(_region('rectangle', None, **_SQUARE), choice)).rows
    self.assertEqual(row.annotation['labels'], [1])
    imported = self._read(_task(
        _region('rectanglelabels', 'a', **_SQUARE), choice))
    self.assertEqual(imported.classes, ('background', 'a'))

  def test_region_of_two_labels(self):
    region = _region('rectanglelabels', None, rectanglelabels=['a', 'b'],
                     **_SQUARE)
    row, = self._read(_task(region)).rows
    self.assertEqual(self.counts(row), {0: 564, 2: 36})
    self.assertIn('several labels', self.notices)

  @parameterized.parameters(
      ({'original_width': None}, 'NoneType|None'),
      ({'original_width': 60}, 'no size, or another'),
      ({'image_rotation': 90}, 'turned picture'),
      ({'type': 'bitmask'}, 'bitmask is not read'),
      ({'value': {'x': 'left'}}, 'left'),
      ({'value': []}, 'wrong type'))
  def test_a_damaged_region_costs_its_place_alone(self, change, cause):
    good = _region('rectanglelabels', number=1, x=50, y=50, width=10, height=10)
    bad = _region('rectanglelabels', **_SQUARE) | change
    problem, = self._read(_task(good, bad), problems=1).problems
    self.assertRegex(problem.what, cause)
    imported = self._read(_task(good, bad), leave_out=['shapes'])
    row, = imported.rows
    self.assertLen(imported.left_out, 1)
    # The place of the region is known if its rectangle can be read.
    self.assertEqual(self.counts(row), {0: 558, 1: 6, 255: 36} if (
        'value' not in change and 'original_width' not in change) else None)

  @parameterized.parameters(
      ([], 'not a list of bytes|no size|rle'), ([1, 2, 300], 'list of bytes'),
      (_BRUSH[:20], 'ends within a run'), (_BRUSH[4:], 'holds'), ('x', 'list'))
  def test_damaged_brushes(self, values, cause):
    with self.assertRaisesRegex(ValueError, cause):
      brush_rle.decode(values, _SIZE)

  def test_brush_there_and_back(self):
    rng = np.random.default_rng(0)
    masks = [rng.random((h, w)) < p for h, w, p in (
        (1, 1, 0), (1, 1, 1), (7, 3, 0.5), (40, 50, 0.01), (200, 200, 0))]
    masks.append(np.ones((200, 100), bool))  # Longer than the longest run.
    for mask in masks:
      np.testing.assert_array_equal(
          brush_rle.decode(brush_rle.encode(mask), mask.shape), mask)


class TasksTest(source_case.ShapesCase):

  def _read(self, *tasks, pictures=('a.png',), **options):
    self.picture(*pictures)
    self.write('export.json', list(tasks))
    return self.read('label_studio', **options)

  @parameterized.parameters(
      ('a.png', 'a.png'), ('/data/upload/3/0a1b2c3d-a.png', 'a.png'),
      ('/data/upload/3/0a1b2c3d-a.png', '0a1b2c3d-a.png'),
      ('/data/local-files/?d=x/a%20b.png', 'x/a b.png'),
      ('s3://bucket/x/a.png?token=1', 'x/a.png'), ('50%.png', '50%.png'))
  def test_names_of_pictures(self, image, picture):
    region = _region('rectanglelabels', **_SQUARE)
    row, = self._read(_task(region, image=image), pictures=[picture]).rows
    self.assertEqual(row.image, picture)
    self.assertIsNotNone(row.annotation)

  def test_several_annotators(self):
    task = _task(_region('rectanglelabels', **_SQUARE))
    other = _task(_region('brushlabels', format='rle', rle=_BRUSH),
                  completed_by={'id': 2, 'email': 'jane@doe.org'})
    skipped = _task(completed_by=3)['annotations'][0] | {'was_cancelled': True}
    task['annotations'] += [*other['annotations'], skipped]
    imported = self._read(task, _task(image='b.png', completed_by=2),
                          pictures=['a.png', 'b.png'])
    self.assertEqual(
        [(r.id, r.image, r.annotator, r.subject, r.annotation['kind'])
         for r in imported.rows],
        [('a@1', 'a.png', '1', 'a', 'box'),
         ('a@2', 'a.png', '2', 'a', 'coarse_mask'),
         ('b', 'b.png', '2', '', 'box')])
    self.assertIn('1 picture has shapes of several annotators (1, 2)',
                  self.notices)
    self.assertNotIn('jane', repr(imported))
    exact = self._read(task, masks_are_given=True, pictures=['a.png', 'b.png'])
    self.assertEqual(exact.rows[1].annotation['kind'], 'mask')

  def test_the_last_annotation_of_an_annotator_counts(self):
    task = _task(_region('rectanglelabels', **_SQUARE))
    task['annotations'] += _task()['annotations']
    row, = self._read(task, classes=('background', 'a')).rows
    self.assertEqual(row.annotation['labels'], [])
    self.assertIn('the last one counts', self.notices)

  def test_annotators_without_a_number(self):
    task = _task(_region('rectanglelabels', **_SQUARE))
    task['annotations'] += _task()['annotations']
    for annotation in task['annotations']:
      del annotation['completed_by']
    self.assertEqual([r.id for r in self._read(task).rows],
                     ['a@annotation_1', 'a@annotation_2'])

  def test_a_task_without_an_annotation_is_unlabelled(self):
    tasks = [_task(_region('rectanglelabels', **_SQUARE)),
             _task(image='b.png') | {'annotations': []},
             _task(image='c.png')]
    rows = self._read(*tasks, pictures=['a.png', 'b.png', 'c.png']).rows
    self.assertEqual([self.counts(r) for r in rows],
                     [{0: 564, 1: 36}, None, {0: 600}])

  def test_only_a_text_leaves_the_picture_unlabelled(self):
    tasks = [_task(_region('rectanglelabels', **_SQUARE)),
             _task(_region('textarea', None, text=['x']), image='b.png')]
    rows = self._read(*tasks, pictures=['a.png', 'b.png']).rows
    self.assertIsNone(rows[1].annotation)

  def test_old_completions(self):
    task = _task(_region('rectanglelabels', **_SQUARE))
    task['completions'] = task.pop('annotations')
    row, = self._read(task).rows
    self.assertEqual(row.annotation['boxes'], [[3, 3, 9, 9]])

  def test_configuration_orders_the_classes(self):
    self.write('config.xml', '<View><Image name="image" value="$image"/>'
               '<RectangleLabels name="label" toName="image"><Label value="b"/>'
               '<Label value="A" alias="a"/></RectangleLabels></View>')
    imported = self._read(_task(_region('rectanglelabels', **_SQUARE)))
    self.assertEqual(imported.classes, ('background', 'b', 'a'))
    imported = self._read(_task(_region('rectanglelabels', 'c', **_SQUARE)))
    self.assertEqual(imported.classes, ('background', 'c'))
    self.assertIn('does not name all labels', self.notices)

  @parameterized.parameters(
      ({'data': {'x.png': 1}}, 'one picture'), ({'data': None}, 'wrong type'),
      ({'annotations': 3}, 'not a list'),
      ({'annotations': [{'result': 3}]}, 'not a list'),
      ({'annotations': [{}]}, "no 'result'"),
      ({'annotations': [{'completed_by': [], 'result': []}]}, 'not a name'))
  def test_damaged_tasks(self, change, cause):
    imported = self._read(
        _task(_region('rectanglelabels', **_SQUARE)), _task() | change,
        problems=1)
    self.assertIn(cause, str(imported.problems[0]))

  def test_regions_on_two_pictures_of_a_task(self):
    task = _task(_region('rectanglelabels', **_SQUARE), _region(
        'rectanglelabels', number=1, **_SQUARE) | {'to_name': 'second'})
    self.assertIn('one picture', str(self._read(
        task, problems=1).problems[0]))

  def test_detection(self):
    self.write('export.json', [_task()])
    self.write('other.json', [{'annotations': [], 'x': 1}])
    self.assertEqual(label_studio._files(self.source), ['export.json'])


if __name__ == '__main__':
  absltest.main()
