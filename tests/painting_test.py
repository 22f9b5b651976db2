"""Tests for experiments.painting, which paints classes and maps on an image."""

from absl.testing import absltest
from hybridseg import types
import numpy as np

from experiments import painting


class PaintingTest(absltest.TestCase):

  def test_map_red_above_blue_below(self):
    image = np.full((1, 3, 3), 128, np.uint8)
    painted = painting.paint_map(image, np.array([[1.0, 0.0, -np.inf]]))
    grey = 128 / 255
    np.testing.assert_allclose(painted[0, 1], grey)
    np.testing.assert_allclose(
        painted[0, 0], 0.25 * grey + 0.75 * np.array([230, 30, 30]) / 255)
    np.testing.assert_allclose(
        painted[0, 2], 0.25 * grey + 0.75 * np.array([30, 110, 255]) / 255)

  def test_overlay_uses_the_colours_of_the_page(self):
    image = np.zeros((1, 3, 1), np.uint8)
    label = np.array([[0, 1, types.UNLABELLED]], np.uint8)
    painted = painting.overlay(image, label, opacity=1.0)
    np.testing.assert_allclose(painted[0, 0], 0)
    np.testing.assert_allclose(painted[0, 1], np.array([26, 255, 89]) / 255)
    np.testing.assert_allclose(painted[0, 2], 0.1)

  def test_overlay_paints_classes_and_greys_the_unlabelled(self):
    image = np.full((1, 3, 1), 255, np.uint8)
    painted = painting.overlay(image, np.array([[0, 1, 255]], np.uint8))
    np.testing.assert_allclose(painted[0, 0], 1)
    self.assertGreater(painted[0, 1, 1], painted[0, 1, 0])  # Green.
    np.testing.assert_allclose(painted[0, 2], 0.85)


if __name__ == '__main__':
  absltest.main()
