"""Tests for data_prep.sets.named_sets."""

import pathlib
import types
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from data_prep.drawing import simulate
from data_prep.sets import named_sets

_ALL = dict(source='there', image_size=32, kinds=('box',), seed=3,
            strong_fraction=0.5, fault_fraction=0.25)


class NamedSetsTest(parameterized.TestCase):

  @parameterized.parameters(*named_sets.SETS)
  def test_a_module_says_what_it_must(self, name):
    module = named_sets.SETS[name]
    self.assertGreaterEqual(module.IMAGE_SIZE, 8)
    self.assertContainsSubset(module.KINDS, simulate.KINDS)
    self.assertIsInstance(module.LISTING, str)

  @parameterized.parameters(*named_sets.SETS)
  def test_faults_are_planted_where_labels_are_simulated(self, name):
    self.assertEqual(named_sets.has_use_for(name, 'fault_fraction'),
                     hasattr(named_sets.SETS[name], 'simulate'))

  def test_a_set_gets_what_it_names(self):
    def write(output, *, seed, kinds):
      return output, seed, kinds

    sets = {'toy': types.SimpleNamespace(write=write)}
    with mock.patch.object(named_sets, 'SETS', sets):
      got = named_sets.write('toy', pathlib.Path('here'), **_ALL)
      self.assertFalse(named_sets.has_use_for('toy', 'fault_fraction'))
    self.assertEqual(got, (pathlib.Path('here'), 3, ('box',)))


if __name__ == '__main__':
  absltest.main()
