"""Tests for data_prep.shared.geometry."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import ndimage

from data_prep.drawing import simulate
from data_prep.shared import geometry
from tests import label_maps


class ShapesTest(parameterized.TestCase):

  def test_tight_box_by_hand(self):
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    self.assertEqual(geometry.tight_box(mask), [2.0, 1.0, 6.0, 3.0])

  def test_loose_box_by_hand(self):
    mask = np.zeros((20, 20), bool)
    mask[8:12, 1:11] = True
    # The margins are 20 % of 10 columns and of 4 rows; the left one is cut off.
    np.testing.assert_allclose(
        geometry.loose_box(mask, margin=0.2), [0, 7.2, 13, 12.8])

  def test_many_vertices_give_the_object_back(self):
    truth = label_maps.disc(64, 30, 34, 20)
    polygon = geometry.coarse_polygon(
        truth > 0, np.random.default_rng(0), num_vertices=32, jitter=0.0)
    label = simulate.draw(
        {'kind': 'polygon', 'polygons': [polygon], 'labels': [1]}, (64, 64))
    self.assertGreater(geometry.quality(label, truth, 2), 0.93)

  @parameterized.parameters(4, 6, 12)
  def test_vertices_lie_on_the_outline(self, num_vertices):
    polygon = np.array(geometry.coarse_polygon(
        label_maps.disc(64, 32, 32, 15) > 0, np.random.default_rng(1),
        num_vertices=num_vertices, jitter=0.0))
    self.assertEqual(polygon.shape, (num_vertices, 2))
    distance = np.hypot(*(polygon - 32).T)
    self.assertBetween(distance.min(), 13.5, 16.5)
    self.assertBetween(distance.max(), 13.5, 16.5)

  def test_components_of_every_class(self):
    label = np.array([[1, 0, 1], [0, 0, 0], [2, 2, 255]], np.uint8)
    found = [(v, int(m.sum())) for v, m in geometry.components(label)]
    self.assertEqual(found, [(1, 1), (1, 1), (2, 2)])

  def test_diagonal_neighbours_are_one_object(self):
    self.assertLen(geometry.components(np.eye(4, dtype=np.uint8)), 1)

  @parameterized.parameters(
      (32, 30, 20, 8, 0), (32, 30, 20, 8, 30), (30, 34, 9, 5, 115),
      (31.5, 31.5, 10, 10, 0), (30, 30, 14, 4, 170))
  def test_ellipse_gives_an_ellipse_back(self, cx, cy, rx, ry, angle_deg):
    ellipse = [cx, cy, rx, ry, angle_deg]
    truth = simulate.draw(
        {'kind': 'ellipse', 'ellipses': [ellipse], 'labels': [1]}, (64, 64))
    found = geometry.fitted_ellipse(truth > 0, scale=1.0)
    label = simulate.draw(
        {'kind': 'ellipse', 'ellipses': [found], 'labels': [1]}, (64, 64))
    self.assertGreater(geometry.quality(label, truth, 2), 0.95)
    np.testing.assert_allclose(found[:4], ellipse[:4], atol=0.25)
    if rx != ry:
      self.assertLess(abs((found[4] - angle_deg + 90) % 180 - 90), 3)

  def test_ellipse_of_one_pixel_by_hand(self):
    mask = np.zeros((4, 4), bool)
    mask[1, 2] = True
    # The radius is 2 * sqrt(1 / 12), times the scale.
    np.testing.assert_allclose(
        geometry.fitted_ellipse(mask, scale=1.5),
        [2.5, 1.5, 0.75**0.5, 0.75**0.5, 0])

  @parameterized.parameters(1, 3, 500)
  def test_interior_points(self, num_points):
    mask = label_maps.disc(32, 15.5, 15.5, 8) > 0
    points = np.array(geometry.interior_points(
        mask, np.random.default_rng(0), num_points=num_points))
    self.assertLen(points, min(num_points, mask.sum()))
    self.assertLen(np.unique(points, axis=0), len(points))
    np.testing.assert_array_equal(points[0], [15.5, 15.5])
    columns, rows = points.astype(int).T
    self.assertTrue(mask[rows, columns].all())
    depth = ndimage.distance_transform_edt(mask)[rows, columns]
    self.assertTrue((np.diff(depth) <= 0).all())
    if num_points == 3:
      self.assertGreaterEqual(depth[-1], depth[0] / 2)

  def test_extreme_points_touch_the_tight_box(self):
    for i, truth in enumerate(label_maps.random_maps(40)):
      for _, mask in geometry.components(truth):
        points = geometry.extreme_points(
            mask, np.random.default_rng(i), jitter=0.0)
        x0, y0, x1, y1 = geometry.tight_box(mask)
        self.assertEqual(
            [points[0][0], points[1][1], points[2][0], points[3][1]],
            [x0 + 0.5, y0 + 0.5, x1 - 0.5, y1 - 0.5])
        for x, y in points:
          self.assertTrue(mask[int(y), int(x)])

  def test_extreme_points_jitter(self):
    mask = label_maps.disc(64, 32, 32, 15) > 0
    draw = lambda jitter: np.array(geometry.extreme_points(
        mask, np.random.default_rng(0), jitter=jitter))
    self.assertBetween(np.abs(draw(0.05) - draw(0.0)).mean(), 0.3, 4.0)

  def test_low_resolution_by_hand(self):
    label = np.array([
        [1, 1, 0, 255, 2],
        [1, 0, 0, 255, 0],
        [2, 2, 255, 255, 1]], np.uint8)
    np.testing.assert_array_equal(
        geometry.low_resolution(label, block=2),
        [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [2, 2, 255, 255, 1]])

  def test_low_resolution_of_one_pixel_is_the_identity(self):
    for label in label_maps.random_maps(20):
      np.testing.assert_array_equal(
          geometry.low_resolution(label, block=1), label)


class QualityTest(parameterized.TestCase):

  @parameterized.parameters(
      ([[1, 1, 0]], [[1, 0, 0]], 2, 0.5),
      ([[0, 0, 0]], [[0, 0, 0]], 2, 1.0),
      ([[1, 0, 0]], [[0, 0, 0]], 2, 0.0),
      ([[0, 0, 0]], [[1, 0, 0]], 2, 0.0),
      # The IoU of class 1 is 1 / 2, and that of class 2 is 1.
      ([[1, 1, 2]], [[1, 0, 2]], 3, 0.75),
      ([[1, 255, 0]], [[1, 1, 0]], 2, 1.0),
  )
  def test_by_hand(self, label, truth, num_classes, expected):
    to_array = lambda x: np.array(x, np.uint8)
    self.assertEqual(
        geometry.quality(to_array(label), to_array(truth), num_classes),
        expected)


if __name__ == '__main__':
  absltest.main()
