"""A 2-D U-Net on an encoder that was trained on ImageNet."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hybridseg import types
from hybridseg.models import efficientnet_lite
from hybridseg.models import layers


def label_params(
    params: Mapping[str, Any], *, frozen_until: int
) -> dict[str, Any]:
  """Labels every parameter of `EfficientNetUNet` by how it is trained.

  Args:
    params: parameters of the network.
    frozen_until: attribute of the network; with 1 or more, the stem is frozen,
      too.

  Returns:
    A tree like `params`, whose leaves are 'frozen', 'encoder' or 'decoder', for
    `optax.multi_transform`. The gradient of frozen parameters is 0 already, but
    weight decay would still shrink them.
  """
  frozen = {'stem', *(f'block_{i}' for i in range(frozen_until))} if (
      frozen_until) else set()
  label = lambda tree, name: jax.tree.map(lambda _: name, tree)
  return {
      name: {
          part: label(tree, 'frozen' if part in frozen else 'encoder')
          for part, tree in value.items()}
      if name == 'backbone' else label(value, 'decoder')
      for name, value in params.items()}


class EfficientNetUNet(nn.Module):
  """A U-Net with a small decoder on the encoder EfficientNet-Lite0.

  The decoder is that of a U-Net (Ronneberger et al., 2015,
  https://arxiv.org/abs/1505.04597): beginning at stride 32, features are
  repeated to the next size, joined with the skip of that size, and convolved.
  The decoder ends at stride 4, and the logits are interpolated from there to
  the size of the images. Images may have any size.

  Attributes:
    num_classes: number of classes K, background included.
    decoder_features: channels at strides 16, 8 and 4; stride 32 has as many as
      stride 16.
    frozen_until: number of blocks of the encoder that are not trained, see
      `efficientnet_lite.EfficientNetLite`.
    dtype: dtype of convolutions and activations, float32 or bfloat16. The
      parameters, the statistics of GroupNorm, the last layer and the logits are
      float32.
  """

  num_classes: int
  decoder_features: tuple[int, ...] = (96, 64, 48)
  frozen_until: int = 0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
      self,
      images: types.Images,
      *,
      return_features: bool = False,
      frozen_only: bool = False,
  ):
    """Maps images, float [B, H, W, 1 or 3], to logits, float32 [B, H, W, K].

    Args:
      images: in [0, 1], float [B, H, W, 1 or 3]; or the result of a call with
        `frozen_only`.
      return_features: whether to also return the features of each pixel, which
        the last layer, `head`, maps to logits: see `layers.resized_head`.
      frozen_only: whether to return the images with the output of the frozen
        blocks, `types.Encoded`, instead of logits.

    Returns:
      Logits; or logits and features, float32 [B, H, W, F]; or `types.Encoded`.

    Raises:
      ValueError: if the images are not a batch, or if an attribute is invalid.
    """
    size = types.pixels(images).shape[1:3]
    layers.check_rank(types.pixels(images), 4)
    if len(self.decoder_features) != len(efficientnet_lite.SKIP_BLOCKS) - 1:
      raise ValueError(
          f'decoder_features={self.decoder_features}: expected 3 numbers of '
          'channels.')
    backbone = efficientnet_lite.EfficientNetLite(
        self.frozen_until, self.dtype, name='backbone')
    if frozen_only:
      return types.Encoded(images, tuple(backbone(images, frozen_only=True)))
    *skips, x = backbone(images)
    norm = lambda x: layers.group_norm(x, dtype=self.dtype)
    x = nn.relu(norm(layers.conv(
        norm(x), self.decoder_features[0], 1, dtype=self.dtype)))
    for skip, features in zip(
        reversed(skips), self.decoder_features, strict=True):
      x = layers.repeat_pixels(x)
      # If the size of the skip is odd, the repeated features are larger by one.
      x = x[:, : skip.shape[1], : skip.shape[2]]
      x = layers.conv_norm_relu(
          jnp.concatenate([norm(skip), x], -1), features, 3, dtype=self.dtype)
    return layers.resized_head(
        x, self.num_classes, size,
        return_features=return_features)
