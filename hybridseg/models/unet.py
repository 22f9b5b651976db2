"""U-Net with GroupNorm, 2-D and 3-D."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hybridseg.models import layers
from hybridseg.models import pooling


class _ConvBlock(nn.Module):
  """Applies a convolution of size 3, GroupNorm and ReLU, twice in a row."""

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = layers.conv_norm_relu(x, self.features, 3, dtype=self.dtype)
    return x


class UNet(nn.Module):
  """U-Net: Ronneberger et al., 2015 (https://arxiv.org/abs/1505.04597).

  For volumes it is a 3-D U-Net: Cicek et al., 2016
  (https://arxiv.org/abs/1606.06650).

  Deviations: padded convolutions, GroupNorm, and up-sampling by repetition
  followed by a convolution (the gradient of a transposed convolution is far
  slower on CPUs, and leaves checkerboard patterns).

  Attributes:
    num_classes: number of classes K, background included.
    features: channels per level, finest first; each level halves the size.
    dtype: dtype of convolutions and activations, float32 or bfloat16. The
      parameters, the statistics of GroupNorm, the last layer and the logits are
      float32.
  """

  num_classes: int
  features: Sequence[int] = (16, 32, 64, 128)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: jax.Array, *, return_features: bool = False):
    """Maps images, float [B, ..., C], to logits, float32 [B, ..., K].

    Args:
      images: float [B, H, W, C] or [B, D, H, W, C].
      return_features: whether to also return the input of the last layer,
        `head`.

    Returns:
      Logits, or logits and features, float32 [B, ..., F].

    Raises:
      ValueError: if D, H or W is not a multiple of 2 ** (len(features) - 1).
    """
    block = lambda x, level: _ConvBlock(self.features[level], self.dtype)(x)
    return down_and_up(
        images, self.features, num_classes=self.num_classes, dtype=self.dtype,
        encode=block, decode=block, return_features=return_features)


def down_and_up(
    images: jax.Array,
    features: Sequence[int],
    *,
    num_classes: int,
    dtype: Any,
    encode: Callable[[jax.Array, int], jax.Array],
    decode: Callable[[jax.Array, int], jax.Array],
    return_features: bool,
):
  """Runs a U-Net with the given blocks on the way down and on the way up.

  Args:
    images: float [B, H, W, C] or [B, D, H, W, C].
    features: channels per level, finest first.
    num_classes: number of classes K.
    dtype: dtype of convolutions and activations.
    encode: block on the way down; maps x, [B, ..., C], and a level to features
      with the channels of that level.
    decode: block on the way up; maps the concatenated skip features and
      upsampled coarser features, [B, ..., C], and a level to features with the
      channels of that level.
    return_features: whether to also return the input of the last layer.

  Returns:
    Logits, or logits and features, float32 [B, ..., F].

  Raises:
    ValueError: if the sizes are not multiples of 2 ** (len(features) - 1).
  """
  layers.check_rank(images, 4, 5)
  _check_sizes(images.shape[1:-1], len(features))
  x = images.astype(dtype)
  skips = []
  for level in range(len(features) - 1):
    skips.append(encode(x, level))
    x = pooling.max_pool_2(skips[-1])
  x = encode(x, len(features) - 1)
  for level in reversed(range(len(features) - 1)):
    x = layers.upsampled_conv(x, features[level], dtype=dtype)
    x = decode(jnp.concatenate([skips[level], x], -1), level)
  x = x.astype(jnp.float32)
  logits = layers.head(x, num_classes)
  return (logits, x) if return_features else logits


def _check_sizes(sizes, num_levels):
  stride = 2 ** (num_levels - 1)
  if any(size % stride for size in sizes):
    raise ValueError(
        f'Images of {" x ".join(map(str, sizes))} do not fit a U-Net of '
        f'{num_levels} levels: use multiples of {stride} pixels.')
