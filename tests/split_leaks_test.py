"""Tests of tests.long.split_leaks: splits of random sets."""

from absl.testing import absltest

from tests.long import split_leaks


class SplitLeaksTest(absltest.TestCase):

  def test_random_sets(self):
    results = split_leaks.check_sets(300, seed=1)
    self.assertEqual({n: f for n, (_, f) in results.items() if f}, {})
    self.assertLen(results, 22)  # Each check has seen a set.
    self.assertGreater(min(seen for seen, _ in results.values()), 30)


if __name__ == '__main__':
  absltest.main()
