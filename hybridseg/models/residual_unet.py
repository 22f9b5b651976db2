"""U-Net with a residual encoder, 2-D and 3-D."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hybridseg.models import layers
from hybridseg.models import unet

# Blocks per level of the encoder, finest first; 6 at all coarser levels.
_NUM_BLOCKS = (1, 3, 4, 6)


class _ResidualBlock(nn.Module):
  """Adds the result of two convolutions to their input.

  He et al., 2015 (https://arxiv.org/abs/1512.03385, figure 2).
  """

  features: int
  dtype: Any
  kernel: int | Sequence[int] = 3

  @nn.compact
  def __call__(self, x):
    y = layers.conv_norm_relu(x, self.features, self.kernel, dtype=self.dtype)
    y = layers.conv(y, self.features, self.kernel, dtype=self.dtype)
    y = layers.group_norm(y, dtype=self.dtype)
    if x.shape[-1] != self.features:
      x = layers.conv(x, self.features, 1, dtype=self.dtype)
      x = layers.group_norm(x, dtype=self.dtype)
    return nn.relu(x + y)


class ResidualUNet(nn.Module):
  """nnU-Net ResEnc: Isensee et al., 2024 (https://arxiv.org/abs/2404.09556).

  As in the paper, the encoder has 1, 3, 4, 6, 6, ... residual blocks (He et
  al., 2015, https://arxiv.org/abs/1512.03385) per level, and the decoder has
  one convolution per level.

  Deviations: GroupNorm, ReLU, and the same steps between levels as in `UNet`:
  maximum pooling on the way down, repetition and a convolution on the way up.

  Attributes:
    num_classes: number of classes K, background included.
    features: channels per level, finest first; each level halves the size.
    dtype: as for `UNet`.
    strides: as for `UNet`.
    kernels: as for `UNet`.
    deep_supervision: as for `UNet`.
  """

  num_classes: int
  features: Sequence[int] = (16, 32, 64, 128)
  dtype: Any = jnp.float32
  strides: Sequence[Sequence[int]] | None = None
  kernels: Sequence[Sequence[int]] | None = None
  deep_supervision: bool = False

  @nn.compact
  def __call__(
      self,
      images: jax.Array,
      *,
      return_features: bool = False,
      return_coarser: bool = False,
  ):
    """Maps images to logits, with the arguments and results of `UNet`."""

    def encode(x, level):
      kernel = unet.kernel_at(self.kernels, level)
      if not level:
        x = layers.conv_norm_relu(
            x, self.features[0], kernel, dtype=self.dtype)
      for _ in range(_NUM_BLOCKS[min(level, len(_NUM_BLOCKS) - 1)]):
        x = _ResidualBlock(self.features[level], self.dtype, kernel)(x)
      return x

    def decode(x, level):
      return layers.conv_norm_relu(
          x, self.features[level], unet.kernel_at(self.kernels, level),
          dtype=self.dtype)

    return unet.down_and_up(
        images, self.features, num_classes=self.num_classes, dtype=self.dtype,
        encode=encode, decode=decode, strides=self.strides,
        kernels=self.kernels, deep_supervision=self.deep_supervision,
        return_features=return_features, return_coarser=return_coarser)
