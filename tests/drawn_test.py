"""Tests of formats.drawn, annotations and class_names: one kind per picture."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.checks import check_annotation
from data_prep.drawing import predictions
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.formats import annotations
from data_prep.formats import assembling
from data_prep.formats import class_names
from data_prep.formats import drawn
import numpy as np
from PIL import Image

_SIZE = (20, 30)
_CLASSES = ('background', 'a', 'b')
_SQUARE = [[2, 3], [8, 3], [8, 9], [2, 9]]  # It covers 36 pixels.
_BOW_TIE = [[2, 3], [12, 13], [12, 3], [2, 13]]
_Shape = drawn.Shape


def _mask(x0=20, y0=10, x1=24, y1=15):
  mask = np.zeros(_SIZE, bool)
  mask[y0:y1, x0:x1] = True
  return rle.encode_rle(mask)


def _shapes():
  """Returns a shape of each kind.

  Their areas are 36, 36, 20, 25 and 36 pixels, and they do not overlap.
  """
  return {
      'polygon': _Shape('polygon', 'a', _SQUARE),
      'box': _Shape('box', 'a', [10, 1, 16, 7]),
      'rle': _Shape('rle', 'a', _mask()),
      'stroke': _Shape('stroke', 'a', [[4.5, 4.5], [6.5, 6.5]], 3.0),
      'point': _Shape('point', 'a', [4.5, 5.5]),
      'ellipse': _Shape('ellipse', 'b', [20, 5, 2, 2, 0]),
      'tag': _Shape('tag', 'b'),
  }


class OneKindTest(parameterized.TestCase):

  def _annotate(self, shapes, usual='rle', leave_out=(), **options):
    self.report = assembling.Report(formats.Options(
        **options, leave_out=frozenset(leave_out))).at(file='f', row_id='x')
    self.classes = options.get('classes') or _CLASSES
    return annotations.to_annotation(
        shapes, _SIZE, self.classes, usual, self.report)

  def _problems(self, annotation, role='weak'):
    """Returns the problems that the check of a manifest finds in an annotation.
    """
    log = check_annotation.Log([], [], manifest_lib.Row(
        'x', 'x.png', 'train', role, annotation, line=2))
    check_annotation.check_annotation(
        annotation, Image.new('L', _SIZE[::-1]),
        check_annotation.Context(None, _CLASSES), 'annotation', role, log)
    return log.problems

  def _counts(self, annotation):
    label = rasterize.rasterize(annotation, size=_SIZE, root=None)
    return dict(zip(*(v.tolist() for v in np.unique(
        label, return_counts=True)), strict=True))

  @parameterized.parameters(
      ('rle', {}, 'mask'), ('rle', {'masks_are': 'coarse_mask'}, 'coarse_mask'),
      ('polygon', {}, 'polygon'), ('polygon', {'polygons_are': 'mask'}, 'mask'),
      ('box', {'polygons_are': 'mask'}, 'box'), ('ellipse', {}, 'ellipse'),
      ('stroke', {}, 'scribble'), ('point', {}, 'points'), ('tag', {}, 'tag'))
  def test_one_kind_stays(self, kind, options, expected):
    annotation = self._annotate([_shapes()[kind]], **options)
    self.assertEqual(annotation['kind'], expected)
    self.assertEqual(self.report.notices, [])

  @parameterized.parameters(
      ('rle polygon', {}, 'coarse_mask', {1: 56}),
      ('rle polygon', {'polygons_are': 'mask'}, 'mask', {1: 56}),
      ('rle polygon', {'polygons_are': 'mask', 'masks_are': 'coarse_mask'},
       'coarse_mask', {1: 56}),
      ('box polygon', {'polygons_are': 'mask'}, 'coarse_mask', {1: 72}),
      ('rle ellipse', {}, 'coarse_mask', {1: 20, 2: 12}),
      ('rle polygon box ellipse', {}, 'coarse_mask', {1: 92, 2: 12}))
  def test_areas_are_drawn_in_the_weaker_role(
      self, kinds, options, expected, counts):
    annotation = self._annotate(
        [_shapes()[k] for k in kinds.split()], **options)
    self.assertEqual(annotation['kind'], expected)
    found = self._counts(annotation)
    self.assertEqual(found.pop(0), 600 - sum(counts.values()))
    self.assertEqual(found, counts)
    if expected != 'mask':
      notice, = self.report.notices
      self.assertIn('drawn as one coarse mask', notice)
      self.assertEqual('boxes' in notice, 'box' in kinds)

  def test_later_shapes_lie_above(self):
    over = _Shape('box', 'b', [2, 3, 8, 9])
    annotation = self._annotate([_shapes()['polygon'], over])
    self.assertEqual(self._counts(annotation), {0: 564, 2: 36})
    annotation = self._annotate([over, _shapes()['polygon']])
    self.assertEqual(self._counts(annotation), {0: 564, 1: 36})

  def test_points_and_strokes_beside_areas(self):
    shapes = _shapes()
    inside = [shapes['polygon'], shapes['stroke'], shapes['point']]
    annotation = self._annotate(inside)
    self.assertEqual(annotation['kind'], 'polygon')
    self.assertIn('within boxes or outlines', self.report.notices[0])
    # These points lie in no area of their class. Since nobody outlined their
    # objects, pixels outside of the shapes cannot become background.
    for point in (_Shape('point', 'b', [4.5, 5.5]),
                  _Shape('point', 'a', [25.5, 15.5])):
      annotation = self._annotate([shapes['polygon'], point])
      self.assertEqual(annotation['kind'], 'coarse_mask')
      counts = self._counts(annotation)
      self.assertNotIn(0, counts)
      self.assertEqual(sum(counts.values()) - counts[255],
                       36 if point.label == 'b' else 49)
    background = _Shape('stroke', 'background', [[25, 15], [28, 15]])
    annotation = self._annotate([shapes['polygon'], background])
    self.assertEqual(annotation['kind'], 'polygon')

  def test_tags_beside_areas(self):
    shapes = _shapes()
    known = self._annotate([shapes['polygon'], _Shape('tag', 'a')])
    self.assertEqual(self._counts(known), {0: 564, 1: 36})
    more = self._annotate([shapes['polygon'], shapes['tag']])
    self.assertEqual(more['kind'], 'polygon')
    self.assertEqual(self._counts(more), {1: 36, 255: 564})

  @parameterized.parameters('rle', 'polygon', 'box', 'ellipse')
  def test_a_shape_that_cannot_be_used_is_unlabelled(self, kind):
    lost = drawn.unreadable('a', [1, 12, 6, 18])
    for shapes in ([_shapes()[kind], lost], [lost]):
      annotation = self._annotate(shapes, usual=kind)
      self.assertNotEqual(annotation['kind'], 'mask')
      counts = self._counts(annotation)
      self.assertEqual(counts[255], 30)
      self.assertEqual(counts[0], 570 - sum(
          n for v, n in counts.items() if v in (1, 2)))
      self.assertEqual(self._problems(annotation), [])
    self.assertIsNone(self._annotate([_shapes()[kind], drawn.unreadable('a')]))
    self.assertIsNone(self._annotate([lost], usual='point'))
    self.assertIsNone(self._annotate([lost], usual='tag'))

  def test_unlabelled_lies_below(self):
    over = drawn.unreadable('a', [2, 3, 10, 9])
    for shapes in ([over, _shapes()['polygon']], [_shapes()['polygon'], over]):
      self.assertEqual(self._counts(self._annotate(shapes)),
                       {0: 552, 1: 36, 255: 12})

  @parameterized.parameters(
      # Of 600 pixels, 60 are a tenth, which is the most that may be unlabelled.
      ('polygon', [10, 1, 20, 7], 'mask', 60),
      ('rle', [10, 1, 20, 7], 'mask', 60),
      ('rle polygon', [10, 1, 20, 7], 'mask', 60),
      ('polygon', [10, 1, 21, 7], 'coarse_mask', 66),
      ('rle', [10, 1, 21, 7], 'coarse_mask', 66))
  def test_an_exact_mask_may_be_unlabelled_in_a_tenth(
      self, kinds, ignored, expected, unlabelled):
    below = [3, 4, 6, 6] if 'polygon' in kinds else [21, 11, 23, 14]
    annotation = self._annotate(
        [*(_shapes()[k] for k in kinds.split()), _Shape('box', 'void', ignored),
         _Shape('box', 'void', below)], polygons_are='mask')
    self.assertEqual(annotation['kind'], expected)
    self.assertEqual(self._counts(annotation)[255], unlabelled)
    self.assertLen(self.report.notices, expected != 'mask')
    role = 'strong' if expected == 'mask' else 'weak'
    self.assertEqual(self._problems(annotation, role), [])

  def test_the_check_of_an_exact_mask_that_is_unlabelled_in_part(self):
    annotation = {'kind': 'mask', 'rles': [_mask(0, 0, 10, 6)], 'labels': [255]}
    self.assertEqual(self._problems(annotation, 'strong'), [])
    annotation['rles'] = [_mask(0, 0, 11, 6)]
    problem, = self._problems(annotation, 'strong')
    self.assertEqual((problem.what, problem.found, problem.field), (
        'an exact mask has no unlabelled pixel', '66 pixels of 255',
        'annotation.rles'))

  @parameterized.parameters(
      ('polygon', 'box', 'polygon', {0: 528, 1: 36, 255: 36}),
      ('box', 'box', 'box', {0: 528, 1: 36, 255: 36}),
      ('stroke', 'box', 'scribble', None), ('point', 'rle', 'points', None),
      ('tag', 'box', 'tag', None),
      ('box', 'rle', 'coarse_mask', {0: 544, 1: 36, 255: 20}),
      ('ellipse', 'box', 'coarse_mask', {0: 552, 2: 12, 255: 36}))
  def test_an_ignored_area_is_no_kind_of_its_own(
      self, kind, ignored, expected, counts):
    area = _shapes()[ignored]._replace(label='ignore')
    if kind == ignored:
      area = area._replace(value=[20, 10, 26, 16])
    annotation = self._annotate([area, _shapes()[kind]])
    self.assertEqual(annotation['kind'], expected)
    if counts:
      self.assertEqual(self._counts(annotation), counts)
    self.assertLen(self.report.notices, expected == 'coarse_mask')

  @parameterized.parameters(
      # A ruler that is not a class, and an ignored region, do not count.
      ({'train': 'box box', 'val': 'rle', 'test': 'polygon ruler void'},
       {'train': 'box', 'val': 'rle', 'test': 'polygon'}),
      ({'train': 'box box', 'val': '', 'test': 'rle'},
       {'train': 'box', 'val': 'rle', 'test': 'rle'}),
      ({'train': '', 'val': '', 'test': 'void'}, dict.fromkeys(
          ('train', 'val', 'test'), 'box')),
      ({'': 'point box rle rle', 'train': ''}, {'': 'rle', 'train': 'rle'}))
  def test_the_usual_kind_is_that_of_the_split(self, drawn_in, expected):
    known = _shapes() | {
        'ruler': _Shape('stroke', 'ruler', [[1, 1], [5, 5]]),
        'void': _Shape('box', 'void', [1, 1, 5, 5])}
    pictures = [(split, [known[k]]) for split, kinds in drawn_in.items()
                for k in kinds.split()]
    pictures += [(split, []) for split in drawn_in]
    usual = annotations.usual_kinds(pictures, _CLASSES)
    self.assertEqual({split: usual[split] for split in expected}, expected)

  def test_a_prediction_is_kept_where_nothing_is_known(self):
    annotation = {'kind': 'box', 'boxes': [[0, 0, 4, 4], [10, 10, 14, 14]],
                  'labels': [1, 255]}
    label = np.ones(_SIZE, np.uint8)
    kept = predictions.constrain(label, annotation, root=None)
    self.assertEqual(np.bincount(kept.ravel()).tolist(), [568, 32])
    kept = predictions.constrain(0 * label, annotation, root=None)
    self.assertEqual(np.bincount(kept.ravel()).tolist(), [584, 16])

  @parameterized.parameters(
      (_Shape('polygon', 'a', _BOW_TIE), 100),  # It lies in [2, 12) x [3, 13).
      (_Shape('polygon', 'a', [[2, 3], [9, 8]]), 35),
      (_Shape('box', 'a', [9, 8, 2, 3]), 35),
      (_Shape('box', 'a', [2, 3, 2, 8]), None),
      (_Shape('box', 'a', [2, 3, 90, 8]), None),
      (_Shape('ellipse', 'a', [4, 4, 0, 2, 0]), None),
      (_Shape('polygon', 'a', [[40, 3], [50, 8], [45, 9]]), None))
  def test_shapes_that_cannot_be_drawn(self, shape, unlabelled):
    others = [_Shape('polygon', 'b', [[20, 10], [24, 10], [24, 15], [20, 15]])]
    self._annotate([shape, *others])
    problem, = self.report.problems
    self.assertIn('f, id x: ', str(problem))
    self.assertIn('--leave_out=shapes', str(problem))
    annotation = self._annotate([shape, *others], leave_out=['shapes'])
    self.assertEqual(self.report.problems, [])
    self.assertLen(self.report.left_out, 1)
    if unlabelled is None:
      self.assertIsNone(annotation)
    else:
      self.assertEqual(self._counts(annotation),
                       {0: 580 - unlabelled, 2: 20, 255: unlabelled})

  @parameterized.parameters(
      # Boxes are cut off if they leave the picture by at most 3 pixels, or by
      # at most 5 % of the side.
      ('box', [-3, 2, 10, 8], [0, 2, 10, 8]),
      ('box', [20, 2, 33, 8], [20, 2, 30, 8]),
      # Half a pixel outside is accepted as it is.
      ('box', [20, 2, 30.5, 8], [20, 2, 30.5, 8]),
      ('box', [-4, 2, 10, 8], None), ('box', [-3, 2, -1, 8], None),
      ('point', [32, 5], [30, 5]), ('point', [34, 5], None))
  def test_what_leaves_the_picture_by_a_little_is_cut(
      self, kind, value, expected):
    annotation = self._annotate([_Shape(kind, 'a', value)])
    if expected is None:
      self.assertLen(self.report.problems, 1)
      self.assertIsNone(annotation)
      return
    self.assertEqual(annotation[{'box': 'boxes', 'point': 'points'}[kind]],
                     [expected])
    self.assertLen(self.report.notices, value != expected)

  @parameterized.parameters(
      # Half of the outline lies outside, by 6 of 30 pixels.
      (24, 36, 'refused'),
      (10, 36, 'noted'),  # 23 % of it lies outside.
      (27, 33, 'noted'),  # Half of it lies outside, but only by 3 pixels.
      (10, 30, ''))
  def test_outlines_that_leave_the_picture(self, x0, x1, expected):
    outline = [[x0, 2], [x1, 2], [x1, 8], [x0, 8]]
    annotation = self._annotate([_Shape('polygon', 'a', outline)])
    self.assertLen(self.report.problems, expected == 'refused')
    self.assertEqual(
        'cut off' in str(self.report.notices), expected == 'noted')
    if expected == 'refused':
      self.assertIn('50 % of its box', str(self.report.problems[0]))
      self.assertIsNone(annotation)
    else:
      self.assertEqual(annotation['polygons'], [outline])

  def test_masks_are_cut_as_boxes_are(self):
    report = assembling.Report()
    part = np.ones((4, 6), bool)
    cut = drawn.paste(part, (-2, 18), _SIZE, report)
    self.assertEqual(rle.decode_rle(cut).sum(), 8)
    self.assertLen(report.notices, 1)
    for corner in ((-5, 5), (30, 5), (5, 40)):
      with self.assertRaisesRegex(ValueError, 'outside'):
        drawn.paste(part, corner, _SIZE, report)

  def test_lines(self):
    line = _Shape('line', 'a', [[4.5, 4.5], [9.5, 4.5]], 1.0)
    below = _Shape('line', 'b', [[4.5, 8.5], [9.5, 8.5]])
    annotation = self._annotate([line, below], stroke_width=1.0)
    self.assertEqual(annotation, {
        'kind': 'line', 'lines': [line.value, below.value], 'labels': [1, 2],
        'width': 1.0})
    self.assertEqual(self._problems(annotation), [])
    # A picture without shapes holds no object.
    self.assertEqual(
        self._annotate([], usual='line', stroke_width=2.0),
        {'kind': 'line', 'lines': [], 'labels': [], 'width': 2.0})
    # No single width fits both lines.
    annotation = self._annotate([line, below], stroke_width=3.0)
    self.assertEqual(annotation['kind'], 'coarse_mask')
    label = rasterize.rasterize(annotation, size=_SIZE, root=None)
    self.assertEqual((label == 1).sum(), 6)
    np.testing.assert_array_equal(
        np.flatnonzero(label[:, 6] == 2), [7, 8, 9])
    self.assertIn('lines of several widths', self.report.notices[0])

  def test_masks_that_are_scribbles(self):
    annotation = self._annotate([_shapes()['rle']], masks_are='scribble')
    self.assertEqual(self._counts(annotation), {1: 20, 255: 580})

  def test_extreme_points_that_are_not_four(self):
    points = [_shapes()['point']] * 3
    self.assertIsNone(self._annotate(points, points_are='extreme_points'))
    self.assertLen(self.report.problems, 1)

  def test_turned_box(self):
    np.testing.assert_allclose(
        drawn.turned_box([0, 0, 4, 2], 90, pivot=(2, 1)),
        [[3, -1], [3, 3], [1, 3], [1, -1]], atol=1e-9)


class ClassNamesTest(parameterized.TestCase):

  def _find(self, shapes, names=(), **options):
    self.report = assembling.Report(formats.Options(**options))
    items = [assembling.Item('p', [s], 'f') for s in shapes]
    return class_names.find_classes(items, list(names), self.report)

  def test_what_is_no_class(self):
    labels = ('tool', 'Ignore', '__ignore__', 'un-labelled', 'Background')
    shapes = [_Shape('box', label, [1, 1, 2, 2]) for label in labels]
    classes = self._find([*shapes, _Shape('tag', 'blurred')])
    self.assertEqual(classes, ('background', 'tool'))
    self.assertEqual(
        [class_names.number_of(label, classes) for label in (*labels, 'other')],
        [1, 255, 255, 255, 0, None])
    notices = ' '.join(self.report.notices)
    for word in ('Ignore', '__ignore__', 'un-labelled', 'blurred'):
      self.assertIn(word, notices)
    self.assertEqual(self._find([_Shape('tag', 'blurred')]),
                     ('background', 'blurred'))

  def test_shapes_without_a_class_give_one_notice(self):
    """Labels of the file that mean unlabelled have a notice of their own."""
    self.report = assembling.Report(formats.Options())
    items = class_names.name_unnamed([assembling.Item('p', [
        *(_Shape('box', label, [1, 1, 2, 2])
          for label in ('tool', '__ignore__', '')),
        _Shape('point', '', [5, 6])], 'f')], self.report)
    classes = class_names.find_classes(items, [], self.report)
    self.assertEqual(classes, ('background', 'tool'))
    self.assertEqual(
        [class_names.number_of(s.label, classes) for s in items[0].shapes],
        [1, 255, 255, 255])
    self.assertCountEqual(self.report.notices, [
        '2 shapes have no class: what they cover is unlabelled',
        "'__ignore__' is not a class: what is drawn under it, 1 shape, is "
        'unlabelled'])

  def test_a_class_that_is_named_twice_is_one(self):
    classes = self._find([], ['a', 'b', 'a'])
    self.assertEqual(classes, ('background', 'a', 'b'))
    self.assertIn("'a' is listed 2 times", self.report.notices[0])

  def test_labels_that_are_not_chosen_are_left_out(self):
    shapes = [_Shape('box', x, [1, 1, 2, 2]) for x in ('a', 'tool', 'tool')]
    wanted = ('background', 'a', 'later')
    self.assertEqual(self._find(shapes, classes=wanted), wanted)
    self.assertEqual(self.report.problems, [])
    self.assertIn("'tool' is not in --classes: 2 shapes",
                  self.report.notices[0])

  @parameterized.parameters('tools', 'TOOL', 'polyp')
  def test_a_name_that_nothing_has(self, name):
    shapes = [_Shape('box', 'tool', [1, 1, 2, 2])]
    self._find(shapes, classes=('background', name))
    problem, = self.report.problems
    self.assertIn(f"--classes names '{name}', which no label is", str(problem))


if __name__ == '__main__':
  absltest.main()
