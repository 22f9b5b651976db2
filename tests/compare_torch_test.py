"""Tests for experiments.benchmarks.compare_torch and plain_step, without torch.

The two are compared with torch by the benchmark itself, where it is installed.
"""

import importlib.util
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from experiments import binary
from experiments.benchmarks import plain_step
from tests import binaries


class CompareTorchTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._module = binaries.load('experiments.benchmarks.compare_torch')

  def test_a_case_is_parsed(self):
    self.assertEqual(
        self._module.parse('unet_full:96:4'), ('unet_full', 96, 4))

  @parameterized.parameters(
      '', 'unet_full', 'unet_full:96', 'unet_full:96:4:1', 'unet_full:0:4',
      'unet_full:96:-4', 'unet_full:a:4', 'deeplab_resnet50:96:4')
  def test_other_cases_are_refused_in_one_line(self, text):
    with self.assertRaisesRegex(
        binary.UserError, r"^--cases: '.*' is not NETWORK:PIXELS:BATCH.*\.$"):
      self._module.parse(text)

  def test_without_torch_the_program_says_so(self):
    with (binaries.with_flags(self._module),
          mock.patch.object(importlib.util, 'find_spec', return_value=None),
          self.assertRaisesRegex(binary.UserError, 'pip install torch')):
      self._module.main()

  def test_a_row_holds_the_ratio_and_its_range(self):
    row = self._module.row(dict(
        network='unet_small', pixels=64, batch=16, logits=1.2e-6,
        gradients=3.4e-5, ms=150.04, torch_ms=100.0, ratio=1.5,
        ratios=[1.5, 1.25, 1.754], processor_ratio=1.614))
    self.assertEqual(
        row, '| unet_small | 64 | 16 | 1e-06 | 3e-05 | 150.0 | 100.0 '
        '| **1.50** | 1.25 to 1.75 | 1.61 |')

  def test_differences_by_hand(self):
    # Torch's gradient is (3, 4), of norm 5, and differs by 0.001 in one place.
    found = self._module.differences(
        {'a': np.array([3.0]), 'b': np.array([4.001])},
        np.array([10.0, 1.0005]),
        {'a': np.array([3.0]), 'b': np.array([4.0])}, np.array([10.0, 1.0]))
    self.assertAlmostEqual(found['logits'], 0.00005)
    self.assertAlmostEqual(found['gradients'], 0.0002)

  @parameterized.parameters(
      (0, 0.01, 'gradients differ by 1.0e-02'),
      (0.01, 0, 'logits differ by 1.0e-02'),
      (np.nan, 0, 'logits differ by nan'))
  def test_what_differs_is_not_timed(self, logit, grad, message):
    with self.assertRaisesRegex(binary.UserError, message):
      self._module.differences(
          {'a': np.array([1 + grad])}, np.array([1 + logit]),
          {'a': np.array([1.0])}, np.array([1.0]))

  def test_parameters_have_the_shapes_that_torch_wants(self):
    _, params, images, labels = self._module.build(
        self._module.Case('unet_small', 32, 2))
    found = plain_step.as_torch(params)
    self.assertEqual(images.shape, (2, 32, 32, 3))
    self.assertEqual(labels.shape, (2, 32, 32))
    self.assertLen(found, len(jax.tree.leaves(params)))
    for name, shape in {
        '_ConvBlock_0.Conv_0.weight': (8, 3, 3, 3),
        '_ConvBlock_3.GroupNorm_1.weight': (16,),
        'Conv_0.weight': (16, 32, 3, 3), 'head.weight': (2, 8, 1, 1),
        'head.bias': (2,)}.items():
      self.assertEqual(found[name].shape, shape, name)

  def test_kernels_are_turned_as_torch_wants_them(self):
    kernel = np.arange(3 * 3 * 4 * 5).reshape(3, 3, 4, 5)
    found = plain_step.as_torch({
        'a': {'kernel': kernel}, 'b': {'kernel': kernel[0, 0]},
        'c': {'kernel': kernel[0]}})
    self.assertEqual(found['a.weight'][4, 3, 1, 2], kernel[1, 2, 3, 4])
    self.assertEqual(found['b.weight'][4, 3, 0, 0], kernel[0, 0, 3, 4])
    self.assertEqual(found['c.weight'][4, 0, 1, 2], kernel[0, 1, 2, 4])


class PlainStepTest(absltest.TestCase):

  def test_only_what_is_not_frozen_moves(self):
    params = {
        'backbone': {'stem': {'bias': np.ones(2, np.float32)}},
        'head': {'bias': np.zeros(2, np.float32)}}
    apply_fn = lambda params, images: images + (
        params['backbone']['stem']['bias'] + params['head']['bias']
    ).reshape(1, 1, 1, 2)
    images, labels = np.zeros((1, 2, 2, 2), np.float32), np.zeros(
        (1, 2, 2), np.int32)
    _, step = plain_step.build(
        apply_fn, params, images, labels, frozen_until=1)
    new, _ = step()
    np.testing.assert_array_equal(new['backbone']['stem']['bias'], 1)
    # The first step of Adam has the size of the learning rate.
    np.testing.assert_allclose(
        new['head']['bias'], [1e-3, -1e-3], rtol=1e-3)


if __name__ == '__main__':
  absltest.main()
