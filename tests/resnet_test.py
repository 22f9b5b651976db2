"""Tests for hybridseg.models.resnet, against references in NumPy and torch."""

import importlib.util
import unittest

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import resnet
from tests import networks
from tests import torch_states

_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def _reference(state, depth, images):
  """Computes the forward pass in NumPy.

  Args:
    state: weights by torchvision's names.
    depth: 18 or 50.
    images: float [B, 3, H, W].

  Returns:
    The features of the four stages.
  """

  def conv(name, x, stride):
    kernel = state[f'{name}.weight']
    size = kernel.shape[-1]
    x = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return np.einsum(
        'bchwij,ocij->bohw', windows[:, :, ::stride, ::stride], kernel,
        optimize=True)

  def norm(name, x):
    get = lambda part: state[f'{name}.{part}'][:, None, None]
    centered = (x - get('running_mean')) / np.sqrt(get('running_var') + 1e-5)
    return centered * get('weight') + get('bias')

  def block(name, x, stride):
    strides = (stride, 1) if depth == 18 else (1, stride, 1)
    y = x
    for i, s in enumerate(strides, 1):
      y = norm(f'{name}.bn{i}', conv(f'{name}.conv{i}', y, s))
      if i < len(strides):
        y = np.maximum(y, 0)
    if f'{name}.downsample.0.weight' in state:
      x = norm(f'{name}.downsample.1',
               conv(f'{name}.downsample.0', x, stride))
    return np.maximum(x + y, 0)

  x = np.maximum(norm('bn1', conv('conv1', images, 2)), 0)
  x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
  x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
  x = x[:, :, ::2, ::2].max((-2, -1))
  stages = []
  for stage, num_blocks in enumerate(torch_states.NUM_BLOCKS[depth]):
    for i in range(num_blocks):
      x = block(f'layer{stage + 1}.{i}', x, 2 if stage and not i else 1)
    stages.append(x)
  return stages


def _images(shape=(2, 32, 40, 3)):
  return np.random.default_rng(1).random(shape, np.float32)


def _stages(depth, state, images, **options):
  params = resnet.params_from_torchvision(state, depth=depth)
  model = resnet.ResNet(depth, norm='frozen_batch', **options)
  return jax.jit(model.apply)({'params': params}, images)


def _normalized(images):
  return np.moveaxis((images - _MEAN) / _STD, -1, 1).astype(np.float32)


class ParamsFromTorchvisionTest(parameterized.TestCase):

  def _assert_stages(self, found, expected):
    self.assertLen(found, 4)
    for ours, theirs in zip(found, expected, strict=True):
      ours = np.moveaxis(ours, -1, 1)
      np.testing.assert_allclose(
          ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())

  @parameterized.parameters(18, 50)
  def test_equals_a_forward_pass_in_numpy(self, depth):
    state, images = torch_states.torch_state(depth), _images()
    expected = _reference(state, depth, _normalized(images))
    self._assert_stages(_stages(depth, state, images), expected)

  @parameterized.parameters(
      (18, 32, (32, 40)), (50, 32, (33, 38)), (50, 16, (32, 40)),
      (50, 8, (32, 40)))
  @unittest.skipUnless(
      importlib.util.find_spec('torchvision'), 'torchvision is not installed')
  def test_equals_torchvision(self, depth, output_stride, size):
    import torch
    import torchvision

    options = {}
    if depth == 50:  # torchvision dilates bottlenecks only.
      options['replace_stride_with_dilation'] = [
          False, output_stride < 16, output_stride < 32]
    network = getattr(torchvision.models, f'resnet{depth}')(**options).eval()
    state = torch_states.torch_state(depth)
    network.load_state_dict(
        {name: torch.from_numpy(np.array(x)) for name, x in state.items()})
    images = _images((2, *size, 3))
    with torch.no_grad():
      x = torch.from_numpy(_normalized(images))
      x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
      expected = []
      for stage in range(1, 5):
        x = getattr(network, f'layer{stage}')(x)
        expected.append(x.numpy())
    self._assert_stages(
        _stages(depth, state, images, output_stride=output_stride), expected)

  @parameterized.parameters(
      ('layer1.0.conv3.weight', None, "no 'layer1.0.conv3.weight'.*ResNet-50"),
      ('layer3.1.bn2.running_var', None, "no 'layer3.1.bn2.running_var'"),
      ('conv1.weight', np.zeros((64, 1, 7, 7)), r"'conv1.weight'.*\(64, 1, 7, "
       r'7\).*\(64, 3, 7, 7\)'),
      ('bn1.bias', np.full(64, np.nan), "'bn1.bias' holds a nan"),
      ('bn1.running_var', np.full(64, -1.0), "'bn1.running_var' holds -1"),
      ('conv1.weight', np.zeros((64, 3, 7, 7), int), "'conv1.weight' is of i"),
      ('layer1.3.bn1.weight', np.zeros(1), 'belongs to no layer'),
  )
  def test_names_the_key_that_does_not_fit(self, name, value, message):
    state = torch_states.torch_state(50)
    state.pop(name, None)
    if value is not None:
      state[name] = value
    with self.assertRaisesRegex(ValueError, message):
      resnet.params_from_torchvision(state, depth=50)

  def test_another_depth_is_named(self):
    with self.assertRaisesRegex(ValueError, 'ResNet-18'):
      resnet.params_from_torchvision(torch_states.torch_state(50), depth=18)

  def test_tree_is_the_networks_own(self):
    params = resnet.params_from_torchvision(
        torch_states.torch_state(18), depth=18)
    drawn = networks.random_params(
        resnet.ResNet(18, norm='frozen_batch'), (1, 32, 32, 1))
    self.assertEqual(
        jax.tree.map(lambda x: (x.shape, x.dtype), params),
        jax.tree.map(lambda x: (x.shape, x.dtype), drawn))


class ResNetTest(parameterized.TestCase):

  def test_a_gray_image_is_three_equal_channels(self):
    state, images = torch_states.torch_state(18), _images((1, 16, 16, 1))
    gray = _stages(18, state, images)[-1]
    colour = _stages(18, state, np.repeat(images, 3, axis=-1))[-1]
    np.testing.assert_allclose(gray, colour, rtol=1e-5, atol=1e-5)

  @parameterized.parameters((18, 8), (18, 16), (50, 8), (50, 16))
  def test_dilation_keeps_what_striding_would_see(self, depth, output_stride):
    # A dilated convolution computes the features at every pixel. At the pixels
    # that a strided convolution would keep, both must be equal.
    model = resnet.ResNet(depth, 32, norm='frozen_batch')
    images = _images((1, 64, 64, 3))
    variables = {'params': networks.random_params(model, images.shape)}
    coarse = jax.jit(model.apply)(variables, images)
    fine = jax.jit(resnet.ResNet(
        depth, output_stride, norm='frozen_batch').apply)(variables, images)
    for stage, (a, b) in enumerate(zip(coarse, fine, strict=True)):
      self.assertEqual(b.shape[1], max(64 // (4 * 2**stage),
                                       64 // output_stride))
      step = b.shape[1] // a.shape[1]
      np.testing.assert_allclose(
          b[:, ::step, ::step], a, rtol=1e-4, atol=1e-5 * np.abs(a).max())

  def test_refuses_what_it_does_not_know(self):
    for options, message in (
        (dict(depth=34), r'depth=34.*\[18, 50\]'),
        (dict(depth=18, norm='batch'), "'batch'.*'frozen_batch', 'group'"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        networks.random_params(resnet.ResNet(**options), (1, 8, 8, 3))
    with self.assertRaisesRegex(ValueError, '4 channels.*1 or 3'):
      networks.random_params(
          resnet.ResNet(18, norm='frozen_batch'), (1, 8, 8, 4))

  def test_group_norm_takes_any_channels_and_keeps_no_state(self):
    variables = jax.eval_shape(
        resnet.ResNet(18).init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))
    self.assertEqual(set(variables), {'params'})
    self.assertEqual(
        variables['params']['conv1']['kernel'].shape, (7, 7, 4, 64))


if __name__ == '__main__':
  absltest.main()
