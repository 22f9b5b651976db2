"""Tests for data_prep.checks.value_counts."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from data_prep.checks import value_counts

_MASK = np.array([[0, 9, 9], [0, 0, 255]])


class ValueCountsTest(parameterized.TestCase):

  def test_a_few_values(self):
    self.assertEqual(
        value_counts.count_values(_MASK, [0, 1, 255]).tolist(), [3, 0, 1])

  def test_many_values_are_counted_likewise(self):
    found = value_counts.count_values(_MASK - 9, range(248))
    self.assertEqual(np.flatnonzero(found).tolist(), [0, 246])
    self.assertEqual(found[[0, 246]].tolist(), [2, 1])

  @parameterized.parameters(
      (np.uint8, [0, 9, 255], 0), (np.uint8, [0, 1, 7], 0),
      (np.int64, [], 0), (np.int64, [-3, 0], 3), (np.int64, [0], -(2**16)))
  def test_stored_values(self, dtype, likely, shift):
    mask = (_MASK - shift).astype(dtype)
    values, counts = value_counts.count_stored(mask, likely)
    self.assertEqual(values, [-shift, 9 - shift, 255 - shift])
    self.assertEqual(counts.tolist(), [3, 2, 1])


if __name__ == '__main__':
  absltest.main()
