"""ResNet as a backbone, and its parameters from torchvision's and timm's."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import types
from hybridseg.models import layers

# Depth -> whether blocks are bottlenecks, and how many there are per stage.
_DEPTHS = {18: (False, (2, 2, 2, 2)), 50: (True, (3, 4, 6, 3))}
_NORMS = ('frozen_batch', 'group')
# Of ImageNet's pictures in [0, 1], as torchvision and timm take them off.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BATCH_NORM_EPSILON = 1e-5


class _FrozenBatchNorm(nn.Module):
  """x * scale + bias: BatchNorm of statistics that stay as they were."""

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
  """Adds two convolutions to what they read, or three around a bottleneck.

  The bottleneck strides in its middle, as torchvision's, not in its first
  convolution, as the paper's.
  """

  features: int
  bottleneck: bool
  stride: int
  dilations: tuple[int, int]  # Where it strides, or would; then the other's.
  norm: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    # Channels, size, stride, dilation.
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

  https://arxiv.org/abs/1512.03385, as torchvision has it: see
  `params_from_torchvision`. Its parameters have torchvision's names, '_' for
  '.'; those of GroupNorm too.

  Beyond `output_stride`, the stages no longer stride; their convolutions are
  dilated instead, so that they see as far (Chen et al., 2017,
  https://arxiv.org/abs/1706.05587).

  Attributes:
    depth: 18 or 50.
    output_stride: pixels of the image per pixel of the last stage: 8, 16 or 32.
    norm: 'group', which takes images as they are; or 'frozen_batch' for
      ImageNet's weights: BatchNorm whose statistics are folded into a scale and
      a bias, both trainable, so that no instance touches another. Then images
      are in [0, 1] and ImageNet's mean and deviation are taken off; one channel
      is repeated three times.
    dtype: of convolutions and activations; the statistics of GroupNorm are
      float32.
  """

  depth: int
  output_stride: int = 32
  norm: str = 'group'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array) -> list[jax.Array]:
    """Maps images, float [B, H, W, C], to the features of the four stages.

    Returns:
      Features, `dtype` [B, ceil(H / s), ceil(W / s), F], of the strides s 4, 8,
      16, 32, or `output_stride` where that is less.

    Raises:
      ValueError: if an attribute has no such value, or if ImageNet's weights
        have no meaning for this number of channels.
    """
    if self.depth not in _DEPTHS:
      raise ValueError(f'No ResNet of {self.depth=}; known: {list(_DEPTHS)}.')
    if self.norm not in _NORMS:
      raise ValueError(f'Unknown norm {self.norm!r}; known: {list(_NORMS)}.')
    if self.norm == 'frozen_batch':
      images = _normalize(images)
    x = layers.conv(
        images.astype(self.dtype), 64, 7, dtype=self.dtype, strides=2,
        padding=3, name='conv1')
    x = nn.relu(_norm(x, self.norm, self.dtype, 'bn1'))
    # Zeros never win behind a ReLU. jax2onnx forgets the padding of a pool, and
    # wants its arguments by name.
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
  """Turns a ResNet's `state_dict` into parameters of `ResNet`.

  Of torchvision's resnet18 and resnet50, and of timm's of the same names. Their
  BatchNorm, with weight g, bias b and running statistics m and v, becomes

    scale = g / sqrt(v + 1e-5), bias = b - m * scale.

  Args:
    state: name -> array, as torch keeps them: kernels [out, in, H, W]. The
      classifier, 'fc', and counters of batches are left out.
    depth: of the network, 18 or 50.

  Returns:
    Parameters, float32, of a `ResNet` of norm='frozen_batch' on images of 1 or
    3 channels; in DeepLabV3+ they are params['backbone'].

  Raises:
    ValueError: if a name is missing or of no such network, or if an array has
      another shape or is not finite.
  """
  network = f'a ResNet-{depth} of torchvision or timm'
  left = {name for name in state
          if not name.startswith('fc.')
          and not name.endswith('.num_batches_tracked')}

  def take(name, shape):
    if name not in left:
      raise ValueError(f'There is no {name!r}, which {network} has.')
    left.remove(name)
    value = np.asarray(state[name], np.float64)
    if value.shape != shape:
      raise ValueError(
          f'{name!r} has shape {value.shape}; that of {network} has {shape}.')
    if not np.isfinite(value).all():
      raise ValueError(f'{name!r} holds a nan or an infinity.')
    return value

  shapes = jax.eval_shape(
      ResNet(depth, norm='frozen_batch').init, jax.random.key(0),
      jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))['params']
  params = {}
  for path, leaf in traverse_util.flatten_dict(shapes).items():
    *module, kind = path
    name = '.'.join(module).replace('_', '.')
    if kind == 'kernel':
      params[path] = take(
          f'{name}.weight', leaf.shape[:1:-1] + leaf.shape[:2]
      ).transpose(2, 3, 1, 0)
    elif kind == 'scale':
      weight, bias, mean, variance = (
          take(f'{name}.{x}', leaf.shape)
          for x in ('weight', 'bias', 'running_mean', 'running_var'))
      scale = weight / np.sqrt(variance + _BATCH_NORM_EPSILON)
      params[path] = scale
      params[(*module, 'bias')] = bias - mean * scale
  if left:
    raise ValueError(f'{min(left)!r} is of no layer of {network}.')
  return traverse_util.unflatten_dict(
      {path: np.asarray(x, np.float32) for path, x in params.items()})
