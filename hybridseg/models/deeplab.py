"""The 2-D network DeepLabV3+, with a ResNet as its backbone."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hybridseg.models import layers
from hybridseg.models import resnet

# Maps the output stride to the pyramid's dilations, in pixels of the last
# stage.
_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}
_LOW_LEVEL_FEATURES = 48


class _Pyramid(nn.Module):
  """Atrous spatial pyramid pooling: reads the features at five scales."""

  features: int
  rates: tuple[int, ...]
  dtype: Any

  @nn.compact
  def __call__(self, x):
    branch = lambda x, size, **options: layers.conv_norm_relu(
        x, self.features, size, dtype=self.dtype, **options)
    branches = [branch(x, 1)]
    for rate in self.rates:
      branches.append(branch(x, 3, kernel_dilation=rate))
    # No GroupNorm here, because a single pixel cannot be normalised.
    mean = jnp.mean(x.astype(jnp.float32), axis=(1, 2), keepdims=True)
    mean = nn.relu(nn.Conv(self.features, (1, 1), dtype=self.dtype)(mean))
    branches.append(jnp.broadcast_to(mean, branches[0].shape))
    return branch(jnp.concatenate(branches, -1), 1)


class DeepLabV3Plus(nn.Module):
  """DeepLabV3+: Chen et al., 2018 (https://arxiv.org/abs/1802.02611).

  Images may have any size; the sizes of coarser features are rounded up.

  Deviations: plain instead of separable convolutions, GroupNorm in all parts
  but the backbone, and no dropout.

  Attributes:
    num_classes: number of classes K, background included.
    depth: depth of the ResNet, 18 or 50.
    output_stride: pixels of the image per pixel of the coarsest features, 16 or
      8 (finer and slower).
    features: channels of the pyramid and the decoder.
    norm: normalisation of the ResNet: 'group', or 'frozen_batch' for weights
      trained on ImageNet, see `resnet.ResNet`.
    dtype: dtype of convolutions and activations, float32 or bfloat16. The
      parameters, the statistics of GroupNorm, the last layer and the logits are
      float32.
  """

  num_classes: int
  depth: int = 50
  output_stride: int = 16
  features: int = 256
  norm: str = 'group'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array, *, return_features: bool = False):
    """Maps images, float [B, H, W, C], to logits, float32 [B, H, W, K].

    Args:
      images: float [B, H, W, C].
      return_features: whether to also return the features of each pixel, which
        the last layer, `head`, maps to logits: see `layers.resized_head`.

    Returns:
      Logits, or logits and features, float32 [B, H, W, F].

    Raises:
      ValueError: if the images are not a batch, or if an attribute is invalid.
    """
    layers.check_rank(images, 4)
    if self.output_stride not in _RATES:
      raise ValueError(
          f'No DeepLabV3+ of output_stride={self.output_stride}; known: '
          f'{list(_RATES)}.')
    low_level, *_, x = resnet.ResNet(
        self.depth, self.output_stride, self.norm, self.dtype,
        name='backbone')(images)
    x = _Pyramid(self.features, _RATES[self.output_stride], self.dtype)(x)
    low_level = layers.conv_norm_relu(
        low_level, _LOW_LEVEL_FEATURES, 1, dtype=self.dtype)
    x = layers.resize_bilinear(x, low_level.shape[1:3])
    x = jnp.concatenate([low_level, x], -1)
    for _ in range(2):
      x = layers.conv_norm_relu(x, self.features, 3, dtype=self.dtype)
    return layers.resized_head(
        x, self.num_classes, images.shape[1:3],
        return_features=return_features)
