"""Tests of the table of annotation kinds: every row fits what reads it."""

import pathlib

from absl.testing import absltest
from absl.testing import parameterized
from hybridseg import types
import numpy as np

from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.drawing import rle

_MASK = np.zeros((8, 8), bool)
_MASK[2:5, 3:6] = True
# One shape of every form, over the pixels of rows 2 to 4 and columns 3 to 5.
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
        set(types.AnnotationKind) - {types.AnnotationKind.NONE})

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
