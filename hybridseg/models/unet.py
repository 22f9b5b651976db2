"""U-Net with GroupNorm, 2-D and 3-D."""

from collections.abc import Callable, Sequence
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import layers
from hybridseg.models import pooling


class _ConvBlock(nn.Module):
  """Applies a convolution, GroupNorm and ReLU, twice in a row."""

  features: int
  dtype: Any
  kernel: int | Sequence[int] = 3

  @nn.compact
  def __call__(self, x):
    for _ in range(2):
      x = layers.conv_norm_relu(
          x, self.features, self.kernel, dtype=self.dtype)
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
    strides: for each step from a level to the next coarser one, the factor by
      which the size shrinks along each axis, 1 or 2; None halves all axes at
      every step. In volumes of thick slices, the first steps halve only the
      axes within a slice, [1, 2, 2]: Isensee et al., 2021 (nnU-Net,
      https://doi.org/10.1038/s41592-020-01008-z).
    kernels: for each level, the size of the convolutions along each axis, odd
      numbers; None stands for 3 along all axes. Where `strides` leave the
      slices apart, nnU-Net uses [1, 3, 3].
    deep_supervision: whether the coarser levels of the decoder have logits of
      their own, too, all but the coarsest level: see `deep_supervision`.
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
    """Maps images, float [B, ..., C], to logits, float32 [B, ..., K].

    Args:
      images: float [B, H, W, C] or [B, D, H, W, C].
      return_features: whether to also return the input of the last layer,
        `head`.
      return_coarser: whether to also return features and coarser logits.

    Returns:
      Logits; or logits and features, float32 [B, ..., F]; or logits, features
      and a tuple of coarser logits, the finest first, which is empty without
      `deep_supervision`.

    Raises:
      ValueError: if D, H or W is not a multiple of the product of all strides
        along its axis, 2 ** (len(features) - 1) by default; if `strides` or
        `kernels` do not fit the levels or the axes; or if there are too few
        levels for `deep_supervision`.
    """
    block = lambda x, level: _ConvBlock(
        self.features[level], self.dtype, kernel_at(self.kernels, level))(x)
    return down_and_up(
        images, self.features, num_classes=self.num_classes, dtype=self.dtype,
        encode=block, decode=block, strides=self.strides,
        kernels=self.kernels, deep_supervision=self.deep_supervision,
        return_features=return_features, return_coarser=return_coarser)


def down_and_up(
    images: jax.Array,
    features: Sequence[int],
    *,
    num_classes: int,
    dtype: Any,
    encode: Callable[[jax.Array, int], jax.Array],
    decode: Callable[[jax.Array, int], jax.Array],
    strides: Sequence[Sequence[int]] | None,
    kernels: Sequence[Sequence[int]] | None,
    deep_supervision: bool,
    return_features: bool,
    return_coarser: bool,
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
    strides: as for `UNet`.
    kernels: as for `UNet`.
    deep_supervision: as for `UNet`.
    return_features: as for `UNet`.
    return_coarser: as for `UNet`.

  Returns:
    As `UNet`.

  Raises:
    ValueError: if the sizes are not multiples of the products of the strides;
      if `strides` or `kernels` do not fit the levels or the axes; or if there
      are too few levels for `deep_supervision`.
  """
  layers.check_rank(images, 4, 5)
  num_axes, num_steps = images.ndim - 2, len(features) - 1
  _check_plan('strides', strides, num_steps, num_axes)
  _check_plan('kernels', kernels, num_steps + 1, num_axes)
  if strides is None:
    strides = ((2,) * num_axes,) * num_steps
  _check_sizes(images.shape[1:-1], strides)
  if deep_supervision and num_steps < 3:
    raise ValueError(
        f'deep_supervision needs 4 levels, and features has {num_steps + 1}: '
        'the two coarsest have no output.')
  x = images.astype(dtype)
  skips: list[jax.Array] = []
  coarser: list[jax.Array] = []
  for level in range(num_steps):
    skips.append(encode(x, level))
    x = pooling.max_pool(skips[-1], strides[level])
  x = encode(x, num_steps)
  for level in reversed(range(num_steps)):
    x = layers.upsampled_conv(
        x, features[level], dtype=dtype, strides=strides[level],
        size=kernel_at(kernels, level))
    x = decode(jnp.concatenate([skips[level], x], -1), level)
    if deep_supervision and 0 < level < num_steps - 1:
      coarser.insert(0, layers.head(
          x.astype(jnp.float32), num_classes, name=f'head_{level}'))
  x = x.astype(jnp.float32)
  logits = layers.head(x, num_classes)
  if return_coarser:
    return logits, x, tuple(coarser)
  return (logits, x) if return_features else logits


def kernel_at(
    kernels: Sequence[Sequence[int]] | None, level: int
) -> int | Sequence[int]:
  """Returns the size of the convolutions of a level, 3 without `kernels`."""
  return 3 if kernels is None else kernels[level]


def _check_plan(name, rows, num_rows, num_axes):
  """Refuses strides or kernels that do not fit the network or its images."""
  if rows is not None and [len(row) for row in rows] != [num_axes] * num_rows:
    raise ValueError(
        f'{name} is {rows}: this network needs {num_rows} lists of {num_axes} '
        'numbers.')


def _check_sizes(sizes, strides):
  steps = [math.prod(axis) for axis in zip(*strides, strict=True)] or [1]
  steps = steps[:1] if len(set(steps)) == 1 else steps
  if any(np.mod(sizes, steps)):
    raise ValueError(
        f'Images of {" x ".join(map(str, sizes))} do not fit a U-Net of '
        f'{len(strides) + 1} levels: use multiples of '
        f'{" x ".join(map(str, steps))} pixels.')
