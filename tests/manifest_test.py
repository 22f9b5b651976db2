"""Tests for data_prep.manifest and data_prep.checks.check."""

import json
import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
from PIL import Image

from data_prep import manifest
from data_prep.checks import check
from data_prep.drawing import annotation_kinds

HEADER = {'manifest_version': 1, 'name': 'tiny', 'classes': ['bg', 'a'],
          'root': '.'}
MASK = {'kind': 'mask', 'path': 'masks/m.png'}
BOX = {'kind': 'box', 'boxes': [[1, 1, 4, 3]], 'labels': [1]}


def row(row_id, role='strong', **fields):
  """Returns a valid line; keyword arguments replace fields."""
  annotation = MASK if role == 'strong' else BOX
  return {'id': row_id, 'image': 'images/i.png', 'subject': f's_{row_id}',
          'site': '', 'annotator': '', 'spacing_mm': None, 'split': 'train',
          'role': role, 'annotation': annotation, **fields}


def rows(**fields):
  """Returns two strong and two weak lines; the last one gets `fields`."""
  return [row('a'), row('b'), row('c', 'weak'), {**row('d', 'weak'), **fields}]


def write_files(folder):
  """Writes one 8 x 6 image and masks, good and bad, below `folder`."""
  folder = pathlib.Path(folder)
  for name in ('images', 'masks'):
    (folder / name).mkdir()
  save = lambda path, array: Image.fromarray(array).save(folder / path)
  mask = np.zeros((6, 8), np.uint8)
  mask[1:3, 1:4] = 1
  save('images/i.png', np.full((6, 8, 3), 90, np.uint8))
  save('images/deep.png', np.full((6, 8), 90, np.uint16))
  save('masks/m.png', mask)
  save('masks/m255.png', mask * 255)
  save('masks/one_bit.png', mask.astype(bool))
  save('masks/gray_as_rgb.png', np.repeat(mask[..., None], 3, -1))
  save('masks/colour.png', mask[..., None] * np.array([9, 0, 0], np.uint8))
  save('masks/empty.png', mask * 0)
  save('masks/large.png', np.zeros((8, 8), np.uint8))
  save('masks/seven.png', mask * 7)
  partial = mask.copy()
  partial[5] = 255
  save('masks/partial.png', partial)
  (folder / 'images/cut.png').write_bytes(
      (folder / 'images/i.png').read_bytes()[:50])


def write_lines(folder, lines):
  """Writes JSON lines, or text as it stands; returns the path."""
  path = pathlib.Path(folder) / 'manifest.jsonl'
  text = [x if isinstance(x, str) else json.dumps(x) for x in lines]
  path.write_text('\n'.join(text) + '\n')
  return path


# Name, lines after the header, words of the only problem.
BAD = (
    ('missing_image', rows(image='images/no.png'),
     "line 5, id d, image: image not found, found images/no.png; put"),
    ('unreadable_image', rows(image='images/cut.png'),
     'id d, image: image cannot be read'),
    ('sixteen_bit_image', rows(image='images/deep.png'),
     'expected 8 bits per channel, found pixels of mode I;16; convert'),
    ('mask_of_another_size',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/large.png'}),
     'annotation.path: mask is of another size than its image, 6 x 8, found '
     '8 x 8; save'),
    ('label_value_outside',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/seven.png'}),
     'label value outside the classes, expected 0 .. 1, found 7; map it'),
    ('value_not_mapped',
     rows(annotation={'kind': 'coarse_mask', 'path': 'masks/seven.png',
                      'values': {'0': 0, '255': 1}}),
     'expected keys of `values` (0, 255), found 7; add it'),
    ('missing_mask',
     rows(role='strong', annotation={'kind': 'mask', 'path': 'masks/no.png'}),
     'mask not found, found masks/no.png'),
    ('colour_mask',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/colour.png'}),
     'expected one channel, found masks/colour.png: channels of different'),
    ('unlabelled_in_strong',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/partial.png'}),
     'an exact mask has no unlabelled pixel, found 8 pixels of 255'),
    ('mapped_to_unlabelled_in_strong',
     rows(role='strong', annotation={
         'kind': 'mask', 'path': 'masks/m.png', 'values': {'0': 0, '1': 255}}),
     'an exact mask has no unlabelled pixel, found 6 pixels of 255'),
    ('unknown_kind', rows(annotation={'kind': 'bx', 'boxes': []}),
     "found 'bx'; did you mean 'box'?"),
    ('strong_box', rows(role='strong'),
     "an exact label is of kind mask, found 'box'"),
    ('duplicate_id', rows(id='a'), 'id a, id: duplicate id, first on line 2'),
    ('subject_in_two_splits',
     [*rows(), row('e', split='val', subject='s_a'),
      row('f', split='val', subject='s_a')],
     "line 6, id e, subject: subject is in val and, on line 2, in train, "
     "found 's_a'; keep"),
    ('no_strong', [row('c', 'weak'), row('v', split='val')],
     'manifest: no strong training instance'),
    ('no_weak', [row('a'), row('v', split='val')],
     'manifest: no weak training instance'),
    ('empty', [], 'manifest: the manifest holds no image'),
    ('bad_split', rows(split='training'), "'training'; did you mean 'train'?"),
    ('bad_role', [row('a'), {**row('d', 'weak'), 'role': 'week'}],
     "found 'week'; did you mean 'weak'?"),
    ('weak_val', rows(split='val'), 'val images are for evaluation and need'),
    ('box_swapped', rows(annotation={**BOX, 'boxes': [[4, 1, 1, 3]]}),
     'annotation.boxes[0]: expected [x0, y0, x1, y1] with x1 > x0'),
    ('box_outside', rows(annotation={**BOX, 'boxes': [[1, 1, 12, 3]]}),
     'lies outside the image, 8 wide and 6 high, found [1, 1, 12, 3]'),
    ('box_not_numbers', rows(annotation={**BOX, 'boxes': [[1, 1, 'x', 3]]}),
     'expected [x0, y0, x1, y1], found'),
    ('nan', rows(annotation={**BOX, 'boxes': [[1, 1, float('nan'), 3]]}),
     'expected [x0, y0, x1, y1], found [1, 1, nan, 3]'),
    ('two_point_polygon',
     rows(annotation={'kind': 'polygon', 'polygons': [[[1, 1], [2, 2]]],
                      'labels': [1]}),
     'a polygon needs 3 points, found 2'),
    ('polygon_elsewhere',
     rows(annotation={'kind': 'polygon', 'labels': [1],
                      'polygons': [[[20, 1], [22, 1], [22, 3]]]}),
     'lies outside the image'),
    ('flat_ellipse',
     rows(annotation={'kind': 'ellipse', 'ellipses': [[4, 3, 0, 2, 0]],
                      'labels': [1]}),
     'expected radii above 0'),
    ('class_outside', rows(annotation={**BOX, 'labels': [2]}),
     'annotation.labels[0]: expected a class in 1 .. 1 or 255, found 2'),
    ('class_background', rows(annotation={**BOX, 'labels': [0]}),
     'expected a class in 1 .. 1 or 255, found 0'),
    ('labels_missing', rows(annotation={'kind': 'box', 'boxes': []}),
     'annotation.labels: expected a list, found None'),
    ('labels_short', rows(annotation={**BOX, 'labels': []}),
     'expected as many labels as shapes, 1, found 0'),
    ('misspelt_field', rows(anotator='x'), 'id d, anotator: unknown field'),
    ('missing_field', [row('a'), {'id': 'd', 'image': 'images/i.png',
                                  'role': 'weak', 'annotation': BOX}],
     "field 'split' is missing, expected one of train, val, test; add it"),
    ('wrong_type', rows(subject=3), 'subject: expected a text, found 3'),
    ('spacing', rows(spacing_mm=[1.0, 0]), 'both above 0, found [1.0, 0]'),
    ('no_annotation', rows(annotation=None),
     'a weak image needs an annotation'),
    ('not_json', [*rows(), '{"id": '], 'line 6: not JSON'),
    ('not_an_object', [*rows(), '[1]'], 'line 6: expected a JSON object'),
    ('fault', rows(evaluation={'fault': 'shfted'}),
     "found 'shfted'; did you mean 'shifted'?"),
    ('quality', rows(evaluation={'quality': 1.5}), 'expected null or an IoU'),
    ('truth', rows(evaluation={'truth': BOX}),
     "evaluation.truth.kind: an exact label is of kind mask, found 'box'"),
    ('long_values', rows(id='x' * 500, image='y/' * 200), 'image not found'),
)

ODD_BUT_VALID = (
    ('no_object', rows(annotation={'kind': 'box', 'boxes': [], 'labels': []})),
    ('empty_mask',
     rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/empty.png'})),
    ('values', rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/m255.png',
        'values': {'0': 0, '128': 255, '255': 1}})),
    ('one_bit', rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/one_bit.png'})),
    ('one_bit_as_255', rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/one_bit.png',
        'values': {'0': 0, '255': 1}})),
    ('gray_as_rgb', rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/gray_as_rgb.png'})),
    ('partly_unlabelled_scribble',
     rows(annotation={'kind': 'scribble', 'path': 'masks/partial.png'})),
    ('background_point', rows(annotation={
        'kind': 'points', 'points': [[0, 0], [8, 6]], 'labels': [0, 1]})),
    ('outline_leaves_the_image', rows(annotation={
        'kind': 'polygon', 'polygons': [[[-3, -3], [5, -1], [4, 9]]],
        'labels': [1]})),
    ('rounded_box', rows(annotation={
        **BOX, 'boxes': [[-0.4, 0, 8.5, 6.7]]})),
    ('no_subject', [r | {'subject': ''} for r in rows()] +
     [row('v', split='val', subject='')]),
    ('one_subject_in_one_split', [r | {'subject': 's'} for r in rows()]),
    ('blank_lines', ['', *rows(), '', '']),
    ('unlabelled_image', [*rows(), {
        'id': 'u', 'image': 'images/i.png', 'split': 'train',
        'role': 'unlabelled'}]),
    ('unicode_and_spaces', rows(id='é 1/ü', site='Zürich')),
)


class CheckTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    write_files(cls.folder)

  def problems(self, lines):
    path = write_lines(self.folder, lines)
    return list(map(str, check.check_manifest(manifest.read_manifest(path))))

  @parameterized.named_parameters(*BAD)
  def test_bad_input_gives_one_line(self, lines, words):
    problems = self.problems([HEADER, *lines])
    self.assertLen(problems, 1, problems)
    self.assertIn(words, problems[0])
    self.assertLessEqual(len(problems[0]), 200)
    self.assertNotIn('\n', problems[0])

  @parameterized.named_parameters(*ODD_BUT_VALID)
  def test_odd_but_valid(self, lines):
    self.assertEqual(self.problems([HEADER, *lines]), [])

  @parameterized.parameters(
      ({'classes': ['bg']}, "classes: expected 2 to 255 names"),
      ({'classes': ['bg', 'bg']}, "classes: expected 2 to 255 names"),
      ({'manifest_version': 2}, 'manifest_version: expected 1, found 2'),
      ({'name': ''}, 'name: expected a text'),
      ({'rot': '.'}, 'rot: unknown field'),
  )
  def test_bad_header_gives_one_line(self, fields, words):
    problems = self.problems([HEADER | fields, *rows()])
    self.assertLen(problems, 1, problems)
    self.assertIn(words, problems[0])

  def test_missing_header(self):
    problems = self.problems(rows())
    self.assertLen(problems, 1, problems)
    self.assertIn('the first line is not a header', problems[0])

  def test_nothing_at_all(self):
    problems = self.problems([])
    self.assertLen(problems, 1, problems)
    self.assertIn('the manifest is empty', problems[0])

  def test_all_problems_in_one_pass_in_order_of_lines(self):
    lines = [HEADER, row('a', image='no.png'), 'x', row('c', 'weak', site=1),
             row('d', 'weak', annotation={'kind': 'blob'}), row('a')]
    starts = [p.split(':')[0] for p in self.problems(lines)]
    self.assertEqual(starts, [
        'line 2, id a, image', 'line 3', 'line 4, id c, site',
        'line 5, id d, annotation.kind', 'line 6, id a, id'])

  def test_absolute_root(self):
    with tempfile.TemporaryDirectory() as elsewhere:
      path = write_lines(elsewhere, [HEADER | {'root': self.folder}, *rows()])
      self.assertEqual(check.check_manifest(manifest.read_manifest(path)), [])


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda x: st.lists(x, max_size=4)
    | st.dictionaries(st.text(max_size=8), x, max_size=4),
    max_leaves=8)
_KEYS = st.sampled_from(['kind', 'path', 'values', 'boxes', 'labels', 'points',
                         'polygons', 'ellipses', 'truth', 'quality'])
_KINDS = st.sampled_from((*annotation_kinds.TABLE,))


class ReadWriteTest(parameterized.TestCase):

  @hypothesis.settings(max_examples=60, deadline=None)
  @hypothesis.given(
      ids=st.lists(st.text(min_size=1), min_size=1, max_size=5),
      spacing=st.none() | st.tuples(
          st.floats(0.01, 100), st.floats(0.01, 100)),
      annotation=st.dictionaries(
          st.text(), st.none() | st.integers() | st.text(), max_size=3))
  def test_round_trip(self, ids, spacing, annotation):
    header = manifest.Header('n', ('bg', 'ü'), '/r')
    written = [
        manifest.Row(i, 'p', 'train', 'weak', annotation, spacing_mm=spacing)
        for i in ids]
    with tempfile.TemporaryDirectory() as folder:
      read = manifest.write_manifest(
          os.path.join(folder, 'm.jsonl'), header, written)
      self.assertEqual(os.listdir(folder), ['m.jsonl'])
    self.assertEqual(read.problems, ())
    self.assertEqual(read.header, header)
    self.assertEqual([r.line for r in read.rows], list(range(2, 2 + len(ids))))
    self.assertEqual([r._replace(line=0) for r in read.rows], written)

  @hypothesis.settings(max_examples=150, deadline=None)
  @hypothesis.given(
      field=st.sampled_from(sorted(row('a')) + ['evaluation']), value=_JSON,
      annotation=st.dictionaries(_KEYS, _JSON, max_size=4), kind=_KINDS)
  def test_any_json_is_told_in_short_lines(
      self, field, value, annotation, kind):
    lines = [HEADER, row('x', **{field: value}),
             row('y', 'weak', annotation={**annotation, 'kind': kind}),
             row('z', evaluation=annotation)]
    with tempfile.TemporaryDirectory() as folder:
      path = write_lines(folder, lines)
      problems = check.check_manifest(manifest.read_manifest(path))
    self.assertGreaterEqual(len(problems), 2)  # No image exists.
    for problem in map(str, problems):
      self.assertLessEqual(len(problem), 200)
      self.assertLen(problem.splitlines(), 1)

  @hypothesis.settings(max_examples=60, deadline=None)
  @hypothesis.given(content=st.binary(max_size=200))
  def test_any_bytes_are_no_error(self, content):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / 'm.jsonl'
      path.write_bytes(content)
      self.assertNotEmpty(check.check_manifest(manifest.read_manifest(path)))

  def test_failed_write_keeps_the_old_file(self):
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'm.jsonl')
      header = manifest.Header('n', ('bg', 'a'))
      good = manifest.Row('a', 'p', 'train', 'weak', {})
      manifest.write_manifest(path, header, [good])
      with self.assertRaises(TypeError):
        manifest.write_manifest(
            path, header, [good._replace(annotation={'x': object()})])
      self.assertEqual(os.listdir(folder), ['m.jsonl'])
      self.assertLen(manifest.read_manifest(path).rows, 1)


if __name__ == '__main__':
  absltest.main()
