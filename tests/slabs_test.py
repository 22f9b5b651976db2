"""Tests of data_prep.volumes.slabs."""

from absl.testing import absltest
from absl.testing import parameterized
from data_prep.volumes import resampling
from data_prep.volumes import slabs
import numpy as np


def _annotated(number, places):
  found = np.zeros(number, bool)
  found[list(places)] = True
  return found


class DivideTest(parameterized.TestCase):

  @parameterized.parameters(
      # Single drawn slices: the border lies half-way; a middle slice is later.
      (12, (2, 5, 9), 8, [4, 7, 12]),
      (9, (4,), 8, [9]),
      # Two slices that follow each other are one annotation.
      (10, (1, 2, 7), 8, [5, 10]),
      # A run that is too long is cut into equal parts.
      (10, range(10), 8, [5, 10]),
      (10, range(10), 4, [3, 6, 10]),
      (10, range(1, 9), 4, [5, 10]),
      (3, range(3), 1, [1, 2, 3]),
      # A run beside a single slice.
      (20, [*range(4, 14), 18], 8, [9, 16, 20]),
      (7, (), 8, [7]),
  )
  def test_hand_made(self, number, places, max_slices, wanted):
    self.assertEqual(slabs.divide(
        _annotated(number, places), max_slices=max_slices), wanted)

  def test_no_annotation_is_divided_unless_it_is_too_long(self):
    rng = np.random.default_rng(0)
    for _ in range(200):
      is_annotated = rng.random(rng.integers(1, 40)) < rng.random()
      stops = slabs.divide(is_annotated, max_slices=5)
      self.assertEqual(stops[-1], len(is_annotated))
      self.assertEqual(stops, sorted(set(stops)))
      for part in np.split(is_annotated, stops[:-1]):
        places = np.flatnonzero(part)
        self.assertLessEqual(len(places), 5)
        if is_annotated.any():  # One run.
          self.assertEqual(len(places), 1 + places[-1] - places[0])

  def test_axis(self):
    mask = np.zeros((6, 7, 8), bool)
    mask[3] = True
    self.assertEqual(slabs.find_axis(mask, (1, 1, 5)), 0)
    self.assertEqual(slabs.find_axis(~mask, (1, 1, 5)), 0)
    mask[:] = True
    self.assertEqual(slabs.find_axis(mask, (1, 5, 1)), 1)
    self.assertEqual(slabs.find_axis(mask, (1, 1, 1)), 2)

  def test_moved_to_other_numbers_of_slices(self):
    move = lambda old, new, stops: slabs.move(
        stops, resampling.nearest_index(old, new))
    self.assertEqual(move(6, 6, [2, 6]), [(2, 2), (6, 6)])
    self.assertEqual(move(6, 12, [2, 6]), [(2, 4), (6, 12)])
    # Slices 1, 3 and 5 of six are left.
    self.assertEqual(move(6, 3, [2, 4, 6]), [(2, 1), (4, 2), (6, 3)])
    self.assertEqual(move(6, 3, [1, 3, 5, 6]), [(3, 1), (5, 2), (6, 3)])
    self.assertEqual(move(6, 1, [2, 3, 6]), [(6, 1)])


if __name__ == '__main__':
  absltest.main()
