"""Runs tests.long.split_leaks, which checks splits of random sets, briefly."""

from absl.testing import absltest

from tests.long import split_leaks


class SplitLeaksTest(absltest.TestCase):

  def test_random_sets(self):
    results = split_leaks.check_sets(300, seed=1)
    self.assertEqual({n: f for n, (_, f) in results.items() if f}, {})
    self.assertLen(results, 22)  # Each check was run on a set.
    self.assertGreater(min(seen for seen, _ in results.values()), 30)


if __name__ == '__main__':
  absltest.main()
