"""Tests for tables.seed_groups: names, means and intervals over seeds."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from experiments.tables import seed_groups
from experiments.tables import sweep_statistics


class SeedGroupsTest(parameterized.TestCase):

  @parameterized.parameters(
      (['runs/dii/seed0', 'runs/dii/seed1', 'runs/uniform/seed0'],
       [[0, 1], [2]], ['dii', 'uniform']),
      (['runs/a10', 'runs/a11', 'runs/b10', 'runs/b11'], [[0, 1], [2, 3]],
       ['a', 'b']),
      (['runs/dii_seed1', 'runs/dii_seed2', 'u'], [[0, 1], [2]],
       ['dii', 'u']),
      (['a/seed0', 'b/seed0'], [[0], [1]], ['a/seed0', 'b/seed0']),
      (['x', 'y', 'z'], [[0, 1], [2]], ['x', 'z']),
      (['runs/1', 'runs/2', 'z'], [[0, 1], [2]], ['runs', 'z']),
  )
  def test_names(self, results, groups, names):
    self.assertEqual(seed_groups.choose_names(groups, results), names)

  def test_interval_of_the_same_seeds_pairs_them(self):
    # The seeds differ greatly, but the methods differ by 0.1 with every seed.
    first = np.array([[0.1, 0.2], [0.7, 0.8]])
    groups = np.array([0, 1])
    paired = seed_groups.difference_interval(
        first, first + 0.1, groups, same_seeds=True)
    np.testing.assert_allclose(paired, [0.1, 0.1])
    # If the seeds of both methods are drawn independently, a resample may hold
    # the best seed of one method and the worst of the other.
    apart = seed_groups.difference_interval(
        first, first + 0.1, groups, same_seeds=False)
    np.testing.assert_allclose(apart, [-0.5, 0.7])

  def test_interval_of_one_seed_each_draws_subjects_alone(self):
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 40))
    second[0, 3] = np.nan  # This case does not count in the difference.
    groups = np.arange(40) // 2
    found = seed_groups.difference_interval(
        first, second, groups, same_seeds=False)
    wanted = sweep_statistics.bootstrap_interval(second - first, groups)
    np.testing.assert_allclose(found, wanted, atol=0.02)


if __name__ == '__main__':
  absltest.main()
