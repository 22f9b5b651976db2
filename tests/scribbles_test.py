"""Tests for data_prep.drawing.scribbles."""

from absl.testing import absltest
import numpy as np

from data_prep.drawing import scribbles
from data_prep.shared import geometry
from tests import label_maps


class ScribblesTest(absltest.TestCase):

  def test_strokes_stay_inside(self):
    for i, truth in enumerate(label_maps.random_maps(40)):
      for _, mask in geometry.components(truth):
        stroke = scribbles.interior_scribble(mask, np.random.default_rng(i))
        rows, columns = label_maps.on_line(stroke)
        self.assertTrue(mask[rows, columns].all())

  def test_interior_scribble_follows_the_middle(self):
    mask = np.zeros((40, 60), bool)
    mask[10:21, 5:55] = True
    stroke = scribbles.interior_scribble(mask, np.random.default_rng(0))
    rows, columns = label_maps.on_line(stroke)
    self.assertGreater(np.ptp(columns), 25)
    self.assertLess(np.mean(np.abs(rows - 15)), 2.5)
    part = scribbles.interior_scribble(
        mask, np.random.default_rng(0), length=0.5)
    self.assertLess(np.ptp(label_maps.on_line(part)[1]), 0.7 * np.ptp(columns))

  def test_interior_scribble_of_a_large_object(self):
    disc = label_maps.disc
    truth = disc(400, 200, 200, 150) - disc(400, 200, 230, 90)
    stroke = scribbles.interior_scribble(truth > 0, np.random.default_rng(0))
    self.assertTrue(truth[label_maps.on_line(stroke)].all())

  def test_medial_line_by_hand(self):
    bar = np.zeros((8, 12), bool)
    bar[2:5, 1:11] = True
    self.assertCountEqual(
        scribbles.medial_line(bar), [[2.5, 3.5], [9.5, 3.5]])
    # The medial line of an object that is one pixel wide, such as a diagonal,
    # reaches to the object's ends.
    self.assertCountEqual(
        scribbles.medial_line(np.eye(6, dtype=bool)), [[0.5, 0.5], [5.5, 5.5]])
    disc = label_maps.disc(32, 16, 16, 6) > 0
    for x, y in scribbles.medial_line(disc):
      self.assertLess(np.hypot(x - 16, y - 16), 2)

  def test_background_scribble_stays_off(self):
    for i, truth in enumerate(label_maps.random_maps(40)):
      stroke = scribbles.background_scribble(truth, np.random.default_rng(i))
      self.assertEqual(bool(stroke), bool((truth == 0).any()))
      if stroke:
        self.assertTrue((truth[label_maps.on_line(stroke)] == 0).all())


if __name__ == '__main__':
  absltest.main()
