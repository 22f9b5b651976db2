"""Tests for experiments.saving.switches."""

import os
from unittest import mock

from absl.testing import absltest
import jax

from experiments.saving import run_folder
from experiments.saving import switches


class SwitchesTest(absltest.TestCase):

  def test_reads_what_is_in_force(self):
    with jax.default_matmul_precision('float32'), mock.patch.dict(
        os.environ, NVIDIA_TF32_OVERRIDE='0', JAX_ENABLE_X64='nonsense'):
      found = switches.read()
    self.assertEqual(found['jax_default_matmul_precision'], 'float32')
    self.assertEqual(found['NVIDIA_TF32_OVERRIDE'], '0')
    # JAX read JAX_ENABLE_X64 when it was imported, so the present value of the
    # variable has no effect and must not be reported.
    self.assertEqual(found['jax_enable_x64'], 'False')
    self.assertEqual(found['jax_default_prng_impl'], 'threefry2x32')
    self.assertEqual(found['jax_numpy_dtype_promotion'], 'standard')
    self.assertEqual(switches.read()['NVIDIA_TF32_OVERRIDE'], '')

  def test_every_value_is_plain_text(self):
    for name, value in switches.read().items():
      self.assertIsInstance(value, str, name)
      # Python prints an object without a text of its own as '<...>'.
      self.assertNotIn('<', value, name)

  def test_names_what_differs(self):
    before = switches.read()
    with jax.enable_x64(True):
      found = switches.differences(before, switches.read())
    self.assertEqual(found, ["jax_enable_x64: 'False' there, 'True' here"])
    self.assertEmpty(switches.differences(before, before))

  def test_switch_of_one_version_is_not_compared(self):
    self.assertEqual(
        switches.differences({'a': '1', 'b': '2'}, {'b': '3', 'c': '4'}),
        ["b: '2' there, '3' here"])

  def test_session_of_an_older_version_says_so_in_one_line(self):
    here = {'switches': switches.read(), 'commit': 'x'}
    self.assertEqual(
        run_folder.differences({'commit': 'x'}, here),
        ['switches: not recorded there, by an older version'])
    self.assertEmpty(run_folder.differences({}, {}))


if __name__ == '__main__':
  absltest.main()
