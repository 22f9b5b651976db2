"""Tests for data_prep.manifest and data_prep.checks.check."""

import os
import pathlib
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st

from data_prep import manifest
from data_prep.checks import check
from data_prep.drawing import annotation_kinds

from tests import listed


ODD_BUT_VALID = (
    ('no_object',
     listed.rows(annotation={'kind': 'box', 'boxes': [], 'labels': []})),
    ('empty_mask',
     listed.rows(role='strong',
          annotation={'kind': 'mask', 'path': 'masks/empty.png'})),
    ('values', listed.rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/m255.png',
        'values': {'0': 0, '128': 255, '255': 1}})),
    ('one_bit', listed.rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/one_bit.png'})),
    ('one_bit_as_255', listed.rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/one_bit.png',
        'values': {'0': 0, '255': 1}})),
    ('gray_as_rgb', listed.rows(role='strong', annotation={
        'kind': 'mask', 'path': 'masks/gray_as_rgb.png'})),
    ('partly_unlabelled_scribble',
     listed.rows(annotation={'kind': 'scribble', 'path': 'masks/partial.png'})),
    ('background_point', listed.rows(annotation={
        'kind': 'points', 'points': [[0, 0], [8, 6]], 'labels': [0, 1]})),
    ('outline_leaves_the_image', listed.rows(annotation={
        'kind': 'polygon', 'polygons': [[[-3, -3], [5, -1], [4, 9]]],
        'labels': [1]})),
    ('rounded_box', listed.rows(annotation={
        **listed.BOX, 'boxes': [[-0.4, 0, 8.5, 6.7]]})),
    ('no_subject', [r | {'subject': ''} for r in listed.rows()] +
     [listed.row('v', split='val', subject='')]),
    ('one_subject_in_one_split', [r | {'subject': 's'} for r in listed.rows()]),
    ('blank_lines', ['', *listed.rows(), '', '']),
    ('unlabelled_image', [*listed.rows(), {
        'id': 'u', 'image': 'images/i.png', 'split': 'train',
        'role': 'unlabelled'}]),
    ('unicode_and_spaces', listed.rows(id='é 1/ü', site='Zürich')),
)


class CheckTest(parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    listed.write_files(cls.folder)

  def problems(self, lines):
    path = listed.write_lines(self.folder, lines)
    return list(map(str, check.check_manifest(manifest.read_manifest(path))))

  @parameterized.named_parameters(*listed.BAD)
  def test_bad_input_gives_one_line(self, lines, words):
    problems = self.problems([listed.HEADER, *lines])
    self.assertLen(problems, 1, problems)
    self.assertIn(words, problems[0])
    self.assertLessEqual(len(problems[0]), 200)
    self.assertNotIn('\n', problems[0])

  @parameterized.named_parameters(*ODD_BUT_VALID)
  def test_odd_but_valid(self, lines):
    self.assertEqual(self.problems([listed.HEADER, *lines]), [])

  @parameterized.parameters(
      ({'classes': ['bg']}, "classes: expected 2 to 255 names"),
      ({'classes': ['bg', 'bg']}, "classes: expected 2 to 255 names"),
      ({'manifest_version': 2}, 'manifest_version: expected 1, found 2'),
      ({'name': ''}, 'name: expected a text'),
      ({'rot': '.'}, 'rot: unknown field'),
  )
  def test_bad_header_gives_one_line(self, fields, words):
    problems = self.problems([listed.HEADER | fields, *listed.rows()])
    self.assertLen(problems, 1, problems)
    self.assertIn(words, problems[0])

  def test_missing_header(self):
    problems = self.problems(listed.rows())
    self.assertLen(problems, 1, problems)
    self.assertIn('the first line is not a header', problems[0])

  def test_nothing_at_all(self):
    problems = self.problems([])
    self.assertLen(problems, 1, problems)
    self.assertIn('the manifest is empty', problems[0])

  def test_all_problems_in_one_pass_in_order_of_lines(self):
    lines = [listed.HEADER, listed.row('a', image='no.png'), 'x',
             listed.row('c', 'weak', site=1),
             listed.row('d', 'weak', annotation={'kind': 'blob'}),
             listed.row('a')]
    starts = [p.split(':')[0] for p in self.problems(lines)]
    self.assertEqual(starts, [
        'line 2, id a, image', 'line 3', 'line 4, id c, site',
        'line 5, id d, annotation.kind', 'line 6, id a, id'])

  def test_absolute_root(self):
    with tempfile.TemporaryDirectory() as elsewhere:
      path = listed.write_lines(
          elsewhere, [listed.HEADER | {'root': self.folder}, *listed.rows()])
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
      field=st.sampled_from(sorted(listed.row('a')) + ['evaluation']),
      value=_JSON,
      annotation=st.dictionaries(_KEYS, _JSON, max_size=4), kind=_KINDS)
  def test_any_json_is_told_in_short_lines(
      self, field, value, annotation, kind):
    lines = [listed.HEADER, listed.row('x', **{field: value}),
             listed.row('y', 'weak', annotation={**annotation, 'kind': kind}),
             listed.row('z', evaluation=annotation)]
    with tempfile.TemporaryDirectory() as folder:
      path = listed.write_lines(folder, lines)
      problems = check.check_manifest(manifest.read_manifest(path))
    self.assertGreaterEqual(len(problems), 2)  # All images are missing.
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

  def test_rows_share_what_is_equal(self):
    annotation = {'kind': 'mask', 'path': 'm.png', 'values': {'0': 0}}
    path = pathlib.Path(self.enterContext(
        tempfile.TemporaryDirectory()), 'manifest.jsonl')
    rows = manifest.write_manifest(path, manifest.Header('n', ('x', 'y')), [
        manifest.Row(str(i), 'a.png', 'train', 'strong', dict(annotation), s)
        for i, s in enumerate(('subject', 'subject', '', 'other'))]).rows
    self.assertEqual(
        [row.subject for row in rows], ['subject', 'subject', '', 'other'])
    self.assertIs(rows[0].subject, rows[1].subject)
    for row in rows:
      self.assertEqual(row.annotation, annotation)
      self.assertIs(row.annotation['values'], rows[0].annotation['values'])
      for name, known in zip(row.annotation, rows[0].annotation, strict=True):
        self.assertIs(name, known)

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
