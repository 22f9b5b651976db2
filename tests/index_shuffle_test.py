"""Tests for experiments.building.index_shuffle."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.building import index_shuffle


def _order(number, *, seed=3, epoch=0):
  return index_shuffle.shuffle(
      np.arange(number), number=number, seed=seed, epoch=epoch)


class IndexShuffleTest(parameterized.TestCase):

  @parameterized.parameters(
      *range(1, 20), 63, 64, 65, 255, 256, 257, 1000, 4097, 100_003)
  def test_is_a_permutation(self, number):
    np.testing.assert_array_equal(np.sort(_order(number)), np.arange(number))

  def test_differs_by_seed_and_epoch(self):
    orders = [_order(1000, seed=s, epoch=e) for s, e in (
        (0, 0), (0, 1), (1, 0), (1, 1))]
    for i, first in enumerate(orders):
      for second in orders[:i]:
        # Two random orders share one position on average.
        self.assertLess(np.sum(first == second), 8)

  def test_never_changes(self):
    np.testing.assert_array_equal(
        index_shuffle.shuffle(
            np.arange(4), number=10**9, seed=5, epoch=2),
        [185571438, 143896792, 237916496, 756197629])

  def test_every_row_is_as_likely_at_every_position(self):
    # The position of 20 rows in 2,000 epochs: chi-square of 19 * 19 degrees of
    # freedom, with mean 361 and standard deviation 26.9.
    counts = np.zeros((20, 20))
    for epoch in range(2000):
      counts[np.arange(20), _order(20, epoch=epoch)] += 1
    self.assertBetween(np.sum((counts - 100) ** 2 / 100), 281, 442)

  @parameterized.parameters(10**6 + 3, 10**7, 10**9)
  def test_neighbours_in_a_batch_are_no_neighbours_in_the_set(self, number):
    # Of the distances of 50,000 pairs, 2 % are below a hundredth of all rows;
    # the standard deviation of this share is 0.0006.
    at = np.random.default_rng(0).integers(0, number - 4, 50_000)
    rows = [index_shuffle.shuffle(at + lag, number=number, seed=0, epoch=0)
            for lag in (0, 1, 2, 4)]
    for other in rows[1:]:
      apart = np.abs(rows[0] - other)
      near = np.minimum(apart, number - apart) < number / 100
      self.assertBetween(near.mean(), 0.018, 0.022)

  def test_batches_pass_over_all_rows(self):
    batches = index_shuffle.Batches(10, 3, seed=1)
    for epoch in range(2):
      rows = np.concatenate([batches[3 * epoch + i] for i in range(3)])
      np.testing.assert_array_equal(
          rows, _order(10, seed=1, epoch=epoch)[:9])


if __name__ == '__main__':
  absltest.main()
