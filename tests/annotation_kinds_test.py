"""Tests that every row of the table of annotation kinds fits its users."""

import pathlib

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
import numpy as np

from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle
from data_prep.drawing import shape_numbers

_MASK = np.zeros((8, 8), bool)
_MASK[2:5, 3:6] = True
# One shape of every form. The shapes cover the pixels of rows 2 to 4 and
# columns 3 to 5.
_SHAPES = {
    'rles': rle.encode_rle(_MASK),
    'strokes': [[3.5, 3.5], [5.5, 3.5]],
    'lines': [[3.5, 3.5], [5.5, 3.5]],
    'boxes': [3, 2, 6, 5],
    'polygons': [[3, 2], [6, 2], [6, 5], [3, 5]],
    'points': [4.5, 3.5],
    'extreme_points': [[3.5, 3.5], [4.5, 2.5], [5.5, 3.5], [4.5, 4.5]],
    'ellipses': [4.5, 3.5, 1.5, 1.5, 0],
}


class AnnotationKindsTest(parameterized.TestCase):

  def test_every_kind_of_the_library_is_here(self):
    self.assertEqual(
        {kind.value for kind in annotation_kinds.TABLE.values()},
        # Only whole volumes have drawn slices.
        set(types.AnnotationKind) - {
            types.AnnotationKind.NONE, types.AnnotationKind.SLICES})

  @parameterized.parameters(
      ('polygon', [[1, 1], [3, 3]]), ('box', [3, 1, 3, 4]),
      ('ellipse', [2, 2, -1, 1, 0]))
  def test_impossible_numbers_are_refused(self, name, shape):
    kind = annotation_kinds.TABLE[name]
    self.assertIsNone(kind.problem(_SHAPES[kind.field]))
    self.assertIsNotNone(kind.problem(shape))

  def test_every_kind_that_is_a_list_of_numbers_says_which_are_possible(self):
    # Radii and sides can be invalid, because they can be negative. The points
    # of an outline can lie anywhere.
    for kind in annotation_kinds.TABLE.values():
      if kind.num_values and kind.num_values > 2:
        self.assertIsNot(kind.problem, shape_numbers.no_problem, kind.name)
        self.assertIsNotNone(kind.thickness, kind.name)

  @parameterized.parameters(
      *(name for name, kind in annotation_kinds.TABLE.items() if kind.cover))
  def test_the_box_around_a_shape_holds_its_pixels(self, name):
    kind = annotation_kinds.TABLE[name]
    x0, y0, x1, y1 = kind.around(_SHAPES[kind.field])
    options = {'width': 1.0} if kind.has_width else {}
    rows, columns = np.nonzero(kind.cover(
        np.array(_SHAPES[kind.field], float), np.ones(2), (8, 8), **options))
    # Points and lines also cover pixels outside of their box.
    margin = 2.5 if kind.is_thin else 0
    self.assertGreaterEqual(columns.min() + 0.5, x0 - margin)
    self.assertLessEqual(columns.max() + 0.5, x1 + margin)
    self.assertGreaterEqual(rows.min() + 0.5, y0 - margin)
    self.assertLessEqual(rows.max() + 0.5, y1 + margin)

  def test_all_but_the_exact_kind_can_be_simulated(self):
    self.assertEqual(
        [name for name, kind in annotation_kinds.TABLE.items()
         if not kind.annotate], ['mask'])

  @parameterized.parameters(
      *(name for name, kind in annotation_kinds.TABLE.items() if kind.field))
  def test_its_shapes_are_drawn_and_say_what_the_row_says(self, name):
    kind = annotation_kinds.TABLE[name]
    annotation = {
        'kind': name, kind.field: [_SHAPES[kind.field]], 'labels': [1]}
    if kind.has_width:
      annotation['width'] = 1.0
    label = rasterize.rasterize(
        annotation, size=(8, 8), root=pathlib.Path())
    self.assertEqual(label[3, 4], 1)
    self.assertEqual(
        label[7, 0], types.UNLABELLED if kind.is_sparse else 0)
    shape = _SHAPES[kind.field]
    if kind.num_points:
      self.assertBetween(len(shape), *kind.num_points)
    elif kind.num_values:
      self.assertLen(shape, kind.num_values)
    else:
      self.assertTrue(kind.is_mask)
    self.assertEqual(kind.cover is None, kind.is_mask)


if __name__ == '__main__':
  absltest.main()
