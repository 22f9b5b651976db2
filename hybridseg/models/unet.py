"""2-D U-Net with GroupNorm."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class _ConvBlock(nn.Module):
  """Twice: 3 x 3 convolution, GroupNorm, ReLU."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = nn.Conv(self.features, (3, 3), use_bias=False, dtype=self.dtype)(x)
      # GroupNorm, not BatchNorm: no instance may change another's loss, or the
      # per-instance alignments would lose their meaning.
      x = nn.GroupNorm(min(8, self.features), dtype=self.dtype)(x)
      x = nn.relu(x)
    return x


class UNet(nn.Module):
  """U-Net: Ronneberger et al., 2015 (https://arxiv.org/abs/1505.04597).

  Deviations: padded convolutions, GroupNorm, and up-sampling by repetition
  followed by a convolution (a transposed convolution's gradient is far slower
  on CPU and leaves checkerboards).

  Attributes:
    num_classes: number of classes K, background included.
    features: channels per level, finest first; each level halves the size.
    dtype: of convolutions and activations, float32 or bfloat16; parameters,
      the statistics of GroupNorm, the last layer and logits are float32.
  """

  num_classes: int
  features: Sequence[int] = (16, 32, 64, 128)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array, *, return_features: bool = False):
    """Maps images, float [B, H, W, C], to logits, float32 [B, H, W, K].

    Args:
      images: float [B, H, W, C].
      return_features: whether to return what the last layer, `head`, reads too.

    Returns:
      Logits, or logits and features, float32 [B, H, W, F].

    Raises:
      ValueError: if H or W is no multiple of 2 ** (len(features) - 1).
    """
    stride = 2 ** (len(self.features) - 1)
    height, width = images.shape[1:3]
    if height % stride or width % stride:
      raise ValueError(
          f'Images of {height} x {width} do not fit a U-Net of '
          f'{len(self.features)} levels: use multiples of {stride} pixels.'
      )
    x = images.astype(self.dtype)
    skips = []
    for features in self.features[:-1]:
      x = _ConvBlock(features, self.dtype)(x)
      skips.append(x)
      x = nn.max_pool(x, window_shape=(2, 2), strides=(2, 2))
    x = _ConvBlock(self.features[-1], self.dtype)(x)
    for features, skip in zip(self.features[-2::-1], skips[::-1], strict=True):
      x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
      x = nn.Conv(features, (3, 3), use_bias=False, dtype=self.dtype)(x)
      x = _ConvBlock(features, self.dtype)(jnp.concatenate([skip, x], -1))
    x = x.astype(jnp.float32)
    logits = nn.Conv(self.num_classes, (1, 1), name='head')(x)
    return (logits, x) if return_features else logits
