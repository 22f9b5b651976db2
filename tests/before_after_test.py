"""Tests for experiments.benchmarks.before_after, without any measurement."""

from absl.testing import absltest
import numpy as np

from experiments import binary
from tests import binaries

_STEP = {
    "before.params[0]['kernel']": np.ones((2, 2)),
    'after.indicators.weights': np.array([0.5, 1.0]),
    "after.opt_states[0][0].mu['kernel']": np.array([3.0, 4.0]),
    "metrics['weak_loss']": np.float32(2.0),
    "after.params[0]['kernel']": np.zeros((2, 2)),  # Adam makes signs of noise.
}


class BeforeAfterTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self._module = binaries.load('experiments.benchmarks.before_after')

  def test_differences_have_the_unit_that_is_printed(self):
    found = self._module._differences(_STEP, {
        **_STEP,
        'after.indicators.weights': np.array([0.5, 0.75]),
        "after.opt_states[0][0].mu['kernel']": np.array([3.0, 4.5]),
        "metrics['weak_loss']": np.float32(2.125),
        "after.params[0]['kernel']": np.ones((2, 2))})
    self.assertEqual(found, {
        'parameters': 0.0, 'indicators': 0.25, 'losses': 0.12,
        'gradients, of their norm': 0.1})

  def test_steps_with_different_parts_are_refused(self):
    with self.assertRaisesRegex(binary.UserError, 'different parts.*weak_loss'):
      self._module._differences(
          _STEP, {k: v for k, v in _STEP.items() if 'metrics' not in k})

  def test_the_ratio_is_the_median_over_pairs(self):
    row = self._module._row(
        'step', {'before': [2.0, 3.0, 40.0], 'after': [1.0, 2.0, 10.0]})
    self.assertEqual(
        (row['before'], row['after'], row['ratio']), (3.0, 2.0, 2.0))


if __name__ == '__main__':
  absltest.main()
