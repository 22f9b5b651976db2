"""Layers that the networks share.

Flax names each layer within the module that calls the function.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from hybridseg.models import group_norm as group_norm_lib
from hybridseg.models import volume_conv

_AXES = {4: '[B, H, W, C]', 5: '[B, D, H, W, C]'}
# Where features have more channels than this, kernels with four times as many
# channels cost more time than repeated features.
_WIDEST = 64
# Which weight u of three meets which coarse pixel p of three, in the fine pixel
# a of two: [a, p, u].
_MEETS = np.array([
    [[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])


def check_rank(images: jax.Array, *ranks: int) -> None:
  """Refuses images whose rank is not one of `ranks`, each 4 or 5.

  Raises:
    ValueError: if the images have another rank.
  """
  if images.ndim not in ranks:
    raise ValueError(
        f'Images of shape {images.shape}: this network takes '
        f'{" or ".join(_AXES[rank] for rank in ranks)}.')


def conv(
    x: jax.Array,
    features: int,
    size: int | Sequence[int],
    *,
    dtype: Any,
    **options,
) -> jax.Array:
  """Convolves without bias.

  Args:
    x: float [B, ..., C].
    features: number of channels F of the result.
    size: size of the kernel along every spatial axis, or one size for each
      axis, in pixels.
    dtype: dtype of the convolution.
    **options: further options of `nn.Conv`, for pictures.

  Returns:
    Features, `dtype` [B, ..., F].
  """
  num_axes = x.ndim - 2
  kernel_size = (
      (size,) * num_axes if isinstance(size, int) else tuple(size))
  if num_axes == 3:
    return volume_conv.Conv(features, kernel_size, dtype, **options)(x)
  return nn.Conv(
      features, kernel_size, use_bias=False, dtype=dtype, **options)(x)


class Conv(nn.Module):
  """Applies `repeat_pixels`, then `conv` of size 3, in two dimensions.

  The features are never repeated: a convolution of the coarse features computes
  the two by two fine pixels as four times as many channels. Its kernel sums the
  weights that meet the same coarse pixel.

  The name of the class makes Flax name the layer as it names `nn.Conv`, whose
  parameters this layer has.

  Attributes:
    features: number of channels F of the result.
    dtype: dtype of the convolution.
  """

  features: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """Maps features, float [B, H, W, C], to `dtype` [B, 2 H, 2 W, F]."""
    batch, height, width, channels = x.shape
    kernel = self.param(
        'kernel', nn.initializers.lecun_normal(),
        (3, 3, channels, self.features))
    meets = jnp.asarray(_MEETS, self.dtype)
    kernel = jnp.einsum(
        'apu,bqv,uvcf->pqcabf', meets, meets, kernel.astype(self.dtype),
        precision='highest')
    y = lax.conv_general_dilated(
        x.astype(self.dtype),
        kernel.reshape(3, 3, channels, 4 * self.features), (1, 1), 'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
    y = y.reshape(batch, height, width, 2, 2, self.features).swapaxes(2, 3)
    return y.reshape(batch, 2 * height, 2 * width, self.features)


def repeat_pixels(
    x: jax.Array, *, strides: Sequence[int] | None = None
) -> jax.Array:
  """Repeats every pixel along each axis.

  Args:
    x: float [B, H, W, C] or [B, D, H, W, C].
    strides: how often pixels are repeated along each axis; None stands for
      twice along all of them.

  Returns:
    Features, [B, 2 H, 2 W, C] or [B, 2 D, 2 H, 2 W, C] without `strides`.
  """
  for axis, stride in enumerate(strides or (2,) * (x.ndim - 2), 1):
    if stride > 1:
      x = jnp.repeat(x, stride, axis=axis)
  return x


def upsampled_conv(
    x: jax.Array,
    features: int,
    *,
    dtype: Any,
    strides: Sequence[int] | None = None,
    size: int | Sequence[int] = 3,
) -> jax.Array:
  """Applies `repeat_pixels`, then `conv`.

  Args:
    x: float [B, H, W, C] or [B, D, H, W, C].
    features: number of channels F of the result.
    dtype: dtype of the convolution.
    strides: as for `repeat_pixels`.
    size: as for `conv`.

  Returns:
    Features, `dtype` [B, 2 H, 2 W, F] or [B, 2 D, 2 H, 2 W, F] without
    `strides`.
  """
  is_plain = set(strides or (2,)) == {2} and size in (3, (3, 3))
  if x.ndim == 4 and x.shape[-1] <= _WIDEST and is_plain:
    return Conv(features, dtype)(x)
  return conv(repeat_pixels(x, strides=strides), features, size, dtype=dtype)


def group_norm(
    x: jax.Array, *, dtype: Any, name: str | None = None
) -> jax.Array:
  """Normalises groups of channels of each instance; statistics are float32.

  Wu and He, 2018 (https://arxiv.org/abs/1803.08494), with 8 groups, or one per
  channel if there are fewer than 8 channels.

  Args:
    x: float [B, ..., F].
    dtype: dtype of the result.
    name: name of the layer.

  Returns:
    Normalised features, `dtype` [B, ..., F].
  """
  # With BatchNorm, an instance would change the losses of the others, and the
  # alignments of single instances would have no meaning.
  return group_norm_lib.GroupNorm(
      min(8, x.shape[-1]), dtype=dtype, name=name)(x)


def conv_norm_relu(
    x: jax.Array,
    features: int,
    size: int | Sequence[int],
    *,
    dtype: Any,
    **options,
) -> jax.Array:
  """Applies `conv`, `group_norm` and ReLU; takes the arguments of `conv`."""
  x = conv(x, features, size, dtype=dtype, **options)
  return nn.relu(group_norm(x, dtype=dtype))


def head(x: jax.Array, num_classes: int, *, name: str = 'head') -> jax.Array:
  """Applies the last layer, a 1 x 1 convolution in float32.

  The weighting rule 'dii_last_layer' finds this layer by its name, `head`.

  Args:
    x: float32 [B, ..., F].
    num_classes: number of classes K.
    name: name of the layer; only outputs that do not predict have another one.

  Returns:
    Logits, float32 [B, ..., K].
  """
  return nn.Conv(num_classes, (1,) * (x.ndim - 2), name=name)(x)


def resized_head(
    x: jax.Array,
    num_classes: int,
    size: Sequence[int],
    *,
    return_features: bool,
) -> jax.Array | tuple[jax.Array, jax.Array]:
  """Applies `head` to features that are coarser than the images.

  The coefficients of an interpolation sum to one, so the interpolation commutes
  with the head, up to rounding. The logits are interpolated instead of the
  features, because there are fewer of them.

  Args:
    x: float [B, H, W, F].
    num_classes: number of classes K.
    size: height and width of the images.
    return_features: whether to also return the interpolated features.

  Returns:
    Logits, float32 [B, *size, K], or logits and features, float32
    [B, *size, F].
  """
  x = x.astype(jnp.float32)
  logits = resize_bilinear(head(x, num_classes), size)
  return (logits, resize_bilinear(x, size)) if return_features else logits


def resize_bilinear(x: jax.Array, size: Sequence[int]) -> jax.Array:
  """Interpolates features bilinearly between the centres of pixels.

  Args:
    x: float [B, H, W, F].
    size: new height and width, at least H and W.

  Returns:
    Features, float [B, *size, F].
  """
  # `jax.image.resize` cannot be exported to ONNX for a variable batch size.
  for equation, axis, new in (
      ('bhwf,hy->bywf', 1, size[0]), ('bywf,wx->byxf', 2, size[1])):
    weights = jnp.asarray(_interpolation(x.shape[axis], new), x.dtype)
    x = jnp.einsum(equation, x, weights, precision='highest')
  return x


def _interpolation(old, new):
  """Returns interpolation coefficients, [old, new]; each column sums to one."""
  position = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
  return np.maximum(0, 1 - np.abs(position - np.arange(old)[:, None]))
