"""Tests for data_prep.drawing.annotators; see also simulate_test."""

from absl.testing import absltest
from data_prep.drawing import annotators
from data_prep.drawing import simulate
import numpy as np


class LinesTest(absltest.TestCase):

  def test_one_pen_by_hand(self):
    label = np.zeros((12, 14), np.uint8)
    label[2:5, 1:11] = 1
    drawn = annotators.lines(label, None, 1.0)
    self.assertEqual(list(drawn.labels), [1])
    # The object has 30 pixels and its centre line the length 7: pi w^2 / 4 + 7
    # w = 30.
    self.assertEqual(drawn.width, 3.16)
    self.assertEqual(annotators.lines(label, None, 0.0).width, 4.74)
    label[9:10, 0:13] = 2  # Together: 43 pixels, and lengths 7 + 12.
    drawn = annotators.lines(label, None, 1.0)
    self.assertEqual(list(drawn.labels), [1, 2])
    self.assertAlmostEqual(
        2 * np.pi * drawn.width**2 / 4 + 19 * drawn.width, 43, delta=0.1)

  def test_a_bar_is_drawn_as_it_is(self):
    label = np.zeros((8, 12), np.uint8)
    label[2:5, 1:11] = 1
    annotation = simulate.simulate_weak(
        label, np.random.default_rng(0), kind='line', quality_level=1.0)
    np.testing.assert_array_equal(simulate.draw(annotation, label.shape), label)

  def test_no_object(self):
    label = np.zeros((8, 8), np.uint8)
    self.assertEqual(annotators.lines(label, None, 1.0).labels, [])


if __name__ == '__main__':
  absltest.main()
