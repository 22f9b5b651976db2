"""Tests damaged files: each is valid or gives one line, at little cost."""

from absl.testing import absltest
from absl.testing import parameterized

from tests.damage import bombs
from tests.long import fuzz
from tests.damage import seed_sets

from tests import long_only



class FuzzTest(parameterized.TestCase):

  @parameterized.parameters(*seed_sets.SETS)
  def test_seed_sets_are_valid(self, target):
    outcome, lines, _, _ = fuzz.examine_files(
        target, seed_sets.SETS[target].files())
    self.assertEqual(outcome, 'valid', lines)

  @parameterized.parameters(*seed_sets.SETS)
  def test_damaged_files(self, target):
    num = 25 if long_only.LONG else 12
    result = fuzz.damage(target, 0, num, seed=7)
    self.assertEqual(result.wrong, [])
    # Some damage goes unnoticed, and some is refused.
    self.assertEqual(sum(result.counts.values()), num)
    self.assertGreater(result.counts['refused'], 0)

  @parameterized.parameters(*bombs.BOMBS)
  def test_bombs(self, name):
    target, changed = bombs.BOMBS[name]()
    outcome, lines, _, kib = fuzz.examine_files(
        target, seed_sets.SETS[target].files() | changed)
    self.assertEqual(outcome, 'refused', lines)
    # The limit is 512 MiB, of which a volume may take 256 MiB.
    self.assertLess(kib, 2**19)


if __name__ == '__main__':
  absltest.main()
