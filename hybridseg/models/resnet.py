"""ResNet as a backbone, with parameters from torchvision or timm."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import types
from hybridseg.models import layers
from hybridseg.models import torch_arrays

# Maps the depth to whether its blocks are bottlenecks, and to the number of
# blocks in each stage.
_DEPTHS = {18: (False, (2, 2, 2, 2)), 50: (True, (3, 4, 6, 3))}
_NORMS = ('frozen_batch', 'group')
# Statistics of ImageNet's images in [0, 1], used by torchvision and timm.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH_NORM_EPSILON = 1e-5


class _FrozenBatchNorm(nn.Module):
  """BatchNorm whose statistics are fixed: x * scale + bias."""

  dtype: Any

  @nn.compact
  def __call__(self, x):
    shape = x.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape).astype(self.dtype)
    bias = self.param('bias', nn.initializers.zeros, shape).astype(self.dtype)
    return x * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)


def _norm(x, norm, dtype, name):
  if norm == 'frozen_batch':
    return _FrozenBatchNorm(dtype, name=name)(x)
  return layers.group_norm(x, dtype=dtype, name=name)


class _Block(nn.Module):
  """Adds the result of two convolutions, or of a bottleneck, to the input.

  A bottleneck has three convolutions. The middle one has the stride, as in
  torchvision; in the paper, the first one has it.
  """

  features: int
  bottleneck: bool
  stride: int
  # The dilations of the two convolutions; a bottleneck uses only the first.
  dilations: tuple[int, int]
  norm: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    # Each tuple is (channels, size, stride, dilation).
    convs = [(self.features, 3, self.stride, self.dilations[0])]
    if self.bottleneck:
      convs = [(self.features, 1, 1, 1), *convs, (4 * self.features, 1, 1, 1)]
    else:
      convs.append((self.features, 3, 1, self.dilations[1]))
    y = x
    for i, (features, size, stride, dilation) in enumerate(convs, 1):
      y = layers.conv(
          nn.relu(y) if i > 1 else y, features, size, dtype=self.dtype,
          strides=stride, kernel_dilation=dilation,
          padding=size // 2 * dilation, name=f'conv{i}')
      y = _norm(y, self.norm, self.dtype, f'bn{i}')
    if x.shape != y.shape:
      x = layers.conv(x, y.shape[-1], 1, dtype=self.dtype, strides=self.stride,
                      name='downsample_0')
      x = _norm(x, self.norm, self.dtype, 'downsample_1')
    return nn.relu(x + y)


class ResNet(nn.Module):
  """ResNet without its classifier: He et al., 2015.

  https://arxiv.org/abs/1512.03385, in the form of torchvision: see
  `params_from_torchvision`. The parameters, those of GroupNorm included, have
  torchvision's names, with '_' in place of '.'.

  Beyond `output_stride`, the stages no longer stride. Their convolutions are
  dilated instead, so that their receptive field stays as large (Chen et al.,
  2017, https://arxiv.org/abs/1706.05587).

  Attributes:
    depth: 18 or 50.
    output_stride: pixels of the image per pixel of the last stage: 8, 16 or 32.
    norm: 'group', which does not normalise the images; or 'frozen_batch' for
      weights trained on ImageNet. The latter is BatchNorm whose statistics are
      folded into a scale and a bias, both trainable, so that no instance
      affects another. The images must then be in [0, 1] and are normalised by
      the mean and standard deviation of ImageNet; a single channel is repeated
      three times.
    dtype: dtype of convolutions and activations; the statistics of GroupNorm
      are float32.
  """

  depth: int
  output_stride: int = 32
  norm: str = 'group'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array) -> list[jax.Array]:
    """Maps images, float [B, H, W, C], to the features of the four stages.

    Returns:
      Features, `dtype` [B, ceil(H / s), ceil(W / s), F], at the strides s = 4,
      8, 16 and 32, but at most `output_stride`.

    Raises:
      ValueError: if an attribute is invalid, or if `norm` is 'frozen_batch' and
        the images have neither one channel nor three.
    """
    if self.depth not in _DEPTHS:
      raise ValueError(
          f'No ResNet of depth={self.depth}; known: {list(_DEPTHS)}.')
    if self.norm not in _NORMS:
      raise ValueError(f'Unknown norm {self.norm!r}; known: {list(_NORMS)}.')
    if self.norm == 'frozen_batch':
      images = _normalize(images)
    x = layers.conv(
        images.astype(self.dtype), 64, 7, dtype=self.dtype, strides=2,
        padding=3, name='conv1')
    x = nn.relu(_norm(x, self.norm, self.dtype, 'bn1'))
    # After a ReLU, padding with zeros does not change a maximum. The padding is
    # explicit because jax2onnx ignores the padding of a pool. The arguments of
    # the pool have names because jax2onnx requires that.
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = nn.max_pool(x, window_shape=(3, 3), strides=(2, 2))
    bottleneck, num_blocks = _DEPTHS[self.depth]
    stages = []
    total, dilation = 4, 1
    for stage in range(4):
      stride, before = min(2, 2**stage), dilation
      if total * stride > self.output_stride:
        stride, dilation = 1, dilation * stride
      total *= stride
      for i in range(num_blocks[stage]):
        x = _Block(
            64 * 2**stage, bottleneck, 1 if i else stride,
            (dilation if i else before, dilation), self.norm, self.dtype,
            name=f'layer{stage + 1}_{i}')(x)
      stages.append(x)
    return stages


def _normalize(images):
  channels = images.shape[-1]
  if channels not in (1, 3):
    raise ValueError(
        f"Images of {channels} channels: norm='frozen_batch' is of ImageNet's "
        "weights, for 1 or 3; use norm='group'.")
  mean, std = (jnp.array(x).reshape(1, 1, 1, 3) for x in (_MEAN, _STD))
  return (images - mean) / std


def params_from_torchvision(
    state: Mapping[str, np.ndarray], *, depth: int
) -> types.Params:
  """Turns the `state_dict` of a ResNet into parameters of `ResNet`.

  It accepts resnet18 and resnet50 of torchvision and of timm. Their BatchNorm,
  with weight g, bias b and running statistics m and v, becomes

    scale = g / sqrt(v + 1e-5), bias = b - m * scale.

  Args:
    state: maps names to arrays in the layout of torch, with kernels [out, in,
      H, W]. The classifier, 'fc', and the counters of batches are ignored.
    depth: depth of the network, 18 or 50.

  Returns:
    Parameters, float32, of a `ResNet` with norm='frozen_batch' for images of 1
    or 3 channels; in DeepLabV3+ they are params['backbone'].

  Raises:
    ValueError: if a name is missing or does not belong to the network, or if an
      array has another shape, holds no floating-point numbers or a negative
      variance, or is not finite.
  """
  network = f'a ResNet-{depth} of torchvision'
  shapes = jax.eval_shape(
      ResNet(depth, norm='frozen_batch').init, jax.random.key(0),
      jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))['params']
  params, used = {}, set()
  for path, leaf in traverse_util.flatten_dict(shapes).items():
    *module, kind = path
    name = '.'.join(module).replace('_', '.')
    if kind == 'kernel':
      name = f'{name}.weight'
      used.add(name)
      params[path] = torch_arrays.take(
          state, name, leaf.shape[:1:-1] + leaf.shape[:2], network=network
      ).transpose(2, 3, 1, 0)
    elif kind == 'scale':
      used |= {f'{name}.{part}' for part in torch_arrays.BATCH_NORM}
      params[path], params[(*module, 'bias')] = torch_arrays.batch_norm(
          state, name, *leaf.shape, epsilon=_BATCH_NORM_EPSILON,
          network=network)
  left = {name for name in state.keys() - used
          if not name.startswith('fc.')
          and not name.endswith('.num_batches_tracked')}
  if left:
    raise ValueError(f'{min(left)!r} belongs to no layer of {network}.')
  return traverse_util.unflatten_dict(
      {path: np.asarray(x, np.float32) for path, x in params.items()})
