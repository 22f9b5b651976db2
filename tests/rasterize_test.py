"""Tests for data_prep.drawing.rasterize."""

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
from PIL import Image

from data_prep.drawing import covering
from data_prep.drawing import rasterize
from data_prep.drawing import rle

_ROOT = pathlib.Path()


def _draw(size, **annotation):
  return rasterize.rasterize(annotation, size=size, root=_ROOT)


class ShapesTest(parameterized.TestCase):

  def test_box_by_hand(self):
    # A pixel belongs to the box if its centre does: y = 1.5 and 2.5 lie in
    # [1, 3), and x = 0.5 lies in [0.4, 0.6).
    label = _draw((4, 3), kind='box', boxes=[[0.4, 1, 0.6, 3]], labels=[2])
    np.testing.assert_array_equal(
        label, [[0, 0, 0], [2, 0, 0], [2, 0, 0], [0, 0, 0]])
    self.assertEqual(label.dtype, np.uint8)

  def test_triangle_by_hand(self):
    # The triangle holds the pixels whose centres have x + y < 3.9: (0.5, 0.5),
    # (1.5, 0.5), (2.5, 0.5), ...
    label = _draw((4, 4), kind='polygon', labels=[1],
                  polygons=[[[0, 0], [3.9, 0], [0, 3.9]]])
    np.testing.assert_array_equal(
        label, [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])

  def test_polygon_with_a_notch(self):
    # The polygon is a U: the middle column is open in the upper two rows.
    outline = [[0, 0], [1, 0], [1, 2], [2, 2], [2, 0], [3, 0], [3, 3], [0, 3]]
    label = _draw((3, 4), kind='polygon', polygons=[outline], labels=[1])
    np.testing.assert_array_equal(
        label, [[1, 0, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0]])

  def test_points_by_hand(self):
    # The disc has a radius of 2 pixels about (0.5, 0.5). Its pixels have the
    # offsets (0, 0), (1, 0), (2, 0), (0, 1), (1, 1) and (0, 2).
    label = _draw((4, 4), kind='points', points=[[0.5, 0.5]], labels=[1])
    u = 255
    np.testing.assert_array_equal(
        label, [[1, 1, 1, u], [1, 1, u, u], [1, u, u, u], [u, u, u, u]])

  def test_strokes_by_hand(self):
    label = _draw(
        (5, 6), kind='scribble', width=1,
        strokes=[[[0.5, 1.5], [3.5, 1.5]], [[5.5, 4.5]]], labels=[2, 0])
    np.testing.assert_array_equal(label, [
        [255] * 6,
        [2, 2, 2, 2, 255, 255],
        [255] * 6,
        [255] * 6,
        [255, 255, 255, 255, 255, 0]])

  def test_lines_by_hand(self):
    label = _draw(
        (5, 6), kind='line', width=1,
        lines=[[[0.5, 1.5], [3.5, 1.5]], [[5.5, 4.5]], [[0.5, 3.5]]],
        labels=[2, 1, 255])
    np.testing.assert_array_equal(label, [
        [0] * 6,
        [2, 2, 2, 2, 0, 0],
        [0] * 6,
        [255, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1]])

  def test_stroke_width_is_its_diameter(self):
    label = _draw((40, 40), kind='scribble', width=6, labels=[1],
                  strokes=[[[10, 20], [30, 20]]])
    inside = label == 1
    self.assertEqual(inside[:, 20].sum(), 6)
    np.testing.assert_array_equal(np.flatnonzero(inside[:, 20]), range(17, 23))
    # The stroke covers a rectangle and half a disc at each end.
    self.assertBetween(inside.sum(), 120 + 28 - 6, 120 + 28 + 6)

  def test_extreme_points_by_hand(self):
    with mock.patch.object(covering, 'POINT_RADIUS', 0.5):
      label = _draw(
          (5, 6), kind='extreme_points', labels=[1], extreme_points=[
              [[2.5, 0.5], [4.5, 1.5], [3.5, 3.5], [1.5, 2.5]]])
    np.testing.assert_array_equal(label, [
        [0, 255, 1, 255, 255, 0],
        [0, 255, 255, 255, 1, 0],
        [0, 1, 255, 255, 255, 0],
        [0, 255, 255, 1, 255, 0],
        [0] * 6])

  def test_tag_says_nothing_of_a_pixel(self):
    np.testing.assert_array_equal(
        _draw((2, 3), kind='tag', labels=[1]), np.full((2, 3), 255))

  def test_run_lengths(self):
    masks = np.zeros((2, 3, 4), bool)
    masks[0, :2, :2] = masks[1, 1:, 1:] = True
    label = _draw((3, 4), kind='coarse_mask', labels=[2, 1],
                  rles=[rle.encode_rle(m) for m in masks])
    np.testing.assert_array_equal(
        label, [[2, 2, 0, 0], [2, 1, 1, 1], [0, 1, 1, 1]])
    with self.assertRaisesRegex(ValueError, 'size'):
      _draw((4, 3), kind='mask', labels=[1], rles=[rle.encode_rle(masks[0])])

  def test_ellipse_turns_from_x_to_y(self):
    flat = _draw((9, 9), kind='ellipse', ellipses=[[4.5, 4.5, 3.5, 1, 0]],
                 labels=[1])
    np.testing.assert_array_equal(flat[4], [0, 1, 1, 1, 1, 1, 1, 1, 0])
    self.assertEqual(flat.sum(), 7 + 2)
    diagonal = _draw((9, 9), kind='ellipse', ellipses=[[4.5, 4.5, 5, 1, 45]],
                     labels=[1])
    np.testing.assert_array_equal(
        np.diag(diagonal), [0, 1, 1, 1, 1, 1, 1, 1, 0])
    self.assertEqual(diagonal[0, 8] + diagonal[8, 0], 0)

  def test_later_shape_wins(self):
    label = _draw((2, 2), kind='box', boxes=[[0, 0, 2, 2], [1, 0, 2, 1]],
                  labels=[1, 2])
    np.testing.assert_array_equal(label, [[1, 2], [1, 1]])

  @parameterized.parameters(
      ('box', 'boxes', 0), ('polygon', 'polygons', 0),
      ('points', 'points', 255))
  def test_no_shape(self, kind, field, value):
    label = _draw((2, 3), **{'kind': kind, field: [], 'labels': []})
    np.testing.assert_array_equal(label, np.full((2, 3), value))

  def test_point_survives_a_strong_reduction(self):
    label = rasterize.rasterize(
        {'kind': 'points', 'points': [[250, 130]], 'labels': [1]},
        size=(500, 500), root=_ROOT, output_size=(50, 50))
    self.assertEqual(label[13, 25], 1)
    # The area is about pi * 2 ** 2.
    self.assertBetween((label == 1).sum(), 12, 16)

  def test_shapes_are_scaled(self):
    label = rasterize.rasterize(
        {'kind': 'box', 'boxes': [[2, 4, 6, 12]], 'labels': [1]},
        size=(16, 8), root=_ROOT, output_size=(4, 4))
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = 1
    np.testing.assert_array_equal(label, expected)

  def test_unknown_kind(self):
    with self.assertRaisesRegex(ValueError, "Unknown kind='blob'"):
      _draw((2, 2), kind='blob')

  @hypothesis.settings(max_examples=100, deadline=None)
  @hypothesis.given(
      x=st.lists(st.floats(-5, 25), min_size=2, max_size=2, unique=True),
      y=st.lists(st.floats(-5, 25), min_size=2, max_size=2, unique=True))
  def test_rectangle_as_polygon_is_the_box(self, x, y):
    (x0, x1), (y0, y1) = sorted(x), sorted(y)
    corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    np.testing.assert_array_equal(
        _draw((20, 17), kind='polygon', polygons=[corners], labels=[1]),
        _draw((20, 17), kind='box', boxes=[[x0, y0, x1, y1]], labels=[1]))

  @hypothesis.settings(max_examples=60, deadline=None)
  # There and back along a diagonal, whose crossings are rounded.
  @hypothesis.example(
      vertices=[(0.0, 0.0), (0.0, 0.0), (7.29020987511381, 7.29020987511381)],
      roll=0)
  @hypothesis.given(
      vertices=st.lists(
          st.tuples(st.floats(-8, 24), st.floats(-8, 24)), min_size=3,
          max_size=8),
      roll=st.integers(0, 7))
  def test_polygon_is_the_crossing_number(self, vertices, roll):
    drawn = _draw((16, 16), kind='polygon', polygons=[vertices], labels=[1])
    expected = np.zeros((16, 16), np.uint8)
    for i in range(16):
      for j in range(16):
        crossings = 0
        for edge in zip(vertices, vertices[1:] + vertices[:1], strict=True):
          # Edges are computed from the upper end, so that two ways along one
          # edge round alike.
          (xa, ya), (xb, yb) = sorted(edge, key=lambda end: end[1])
          if ya <= i + 0.5 < yb:
            at = xa + (i + 0.5 - ya) * (xb - xa) / (yb - ya)
            crossings += j + 0.5 < at
        expected[i, j] = crossings % 2
    np.testing.assert_array_equal(drawn, expected)
    turned = vertices[roll:] + vertices[:roll]
    # Starting at another vertex leaves every edge and its direction unchanged,
    # so not even the rounding differs.
    np.testing.assert_array_equal(
        _draw((16, 16), kind='polygon', polygons=[turned], labels=[1]), drawn)


class FilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def save(self, array, mode=None):
    Image.fromarray(np.array(array, np.uint8), mode).save(self.root / 'm.png')

  def read(self, size, **annotation):
    return rasterize.rasterize(
        {'kind': 'mask', 'path': 'm.png', **annotation}, size=size,
        root=self.root)

  def test_values(self):
    self.save([[0, 4], [2, 0]])
    label = self.read((2, 2), values={'0': 0, '2': 1, '4': 255})
    np.testing.assert_array_equal(label, [[0, 255], [1, 0]])

  def test_value_without_class(self):
    self.save([[0, 4]])
    with self.assertRaisesRegex(ValueError, '4'):
      self.read((1, 2), values={'0': 0})

  def test_other_size(self):
    self.save([[0, 4]])
    with self.assertRaisesRegex(ValueError, r'\(1, 2\).*\(2, 2\)'):
      self.read((2, 2))

  def test_palette_picture_gives_indices(self):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), 'P')
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(self.root / 'm.png')
    np.testing.assert_array_equal(self.read((1, 3)), [[0, 1, 2]])

  @parameterized.parameters(('L', 1), ('LA', 1), ('1', 1), ('RGB', 3),
                            ('RGBA', 3), ('P', 3))
  def test_image_channels(self, mode, channels):
    picture = Image.new('RGB', (5, 4), (204, 204, 204)).convert(mode)
    picture.save(self.root / 'i.png')
    image = rasterize.read_image(self.root / 'i.png')
    self.assertEqual(image.shape, (4, 5, channels))
    self.assertEqual(image.dtype, np.uint8)
    if mode != '1':  # A bitmap is dithered, so its values differ.
      np.testing.assert_array_equal(image, np.full_like(image, 204))


class ResizeTest(parameterized.TestCase):

  def test_label_takes_the_pixel_under_the_centre(self):
    label = np.arange(6, dtype=np.uint8)[None].repeat(6, 0)
    np.testing.assert_array_equal(
        rasterize.resize_label(label, size=(1, 2)), [[1, 4]])
    np.testing.assert_array_equal(
        rasterize.resize_label(label[:2, :2], size=(2, 4)),
        [[0, 0, 1, 1]] * 2)

  def test_image_takes_the_mean_of_the_area(self):
    image = np.array([[0, 100, 10, 20], [50, 50, 30, 40]], np.uint8)[..., None]
    np.testing.assert_array_equal(
        rasterize.resize_image(image, size=(1, 2))[..., 0], [[50, 25]])

  @parameterized.parameters(((3, 3),), ((9, 4),), ((20, 30),))
  def test_constant_stays_constant(self, size):
    image = np.full((7, 8, 3), (1, 200, 255), np.uint8)
    resized = rasterize.resize_image(image, size=size)
    np.testing.assert_array_equal(
        resized, np.broadcast_to(np.array([1, 200, 255]), (*size, 3)))

  def test_same_size_is_untouched(self):
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 1), np.uint8)
    np.testing.assert_array_equal(
        rasterize.resize_image(image, size=(5, 6)), image)

  @hypothesis.settings(max_examples=50, deadline=None)
  @hypothesis.given(
      old=st.tuples(st.integers(1, 40), st.integers(1, 40)),
      new=st.tuples(st.integers(1, 40), st.integers(1, 40)))
  def test_labels_never_mix(self, old, new):
    label = np.random.default_rng(0).choice([0, 3, 255], old).astype(np.uint8)
    resized = rasterize.resize_label(label, size=new)
    self.assertEqual(resized.shape, new)
    self.assertContainsSubset(np.unique(resized), np.unique(label))


if __name__ == '__main__':
  absltest.main()
