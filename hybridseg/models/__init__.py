"""Networks: one file each, built by name."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hybridseg.models import deeplab
from hybridseg.models import encoder_unet
from hybridseg.models import residual_unet
from hybridseg.models import unet

_MODELS = {
    'deeplab_v3_plus': deeplab.DeepLabV3Plus,
    'efficientnet_unet': encoder_unet.EfficientNetUNet,
    'residual_unet': residual_unet.ResidualUNet,
    'unet': unet.UNet,
}
# No float16: its range needs a loss scale.
_DTYPES = {'bfloat16': jnp.bfloat16, 'float32': jnp.float32}


def build(
    name: str, *, num_classes: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
  """Builds a network by name.

  Args:
    name: one of the keys of `_MODELS`.
    num_classes: number of classes K, background included.
    options: further attributes of the network, for example `features`; `dtype`
      by its name, one of the keys of `_DTYPES`, or a dtype.

  Returns:
    A `flax.linen` module that maps images [B, H, W, C] to logits [B, H, W, K];
    the U-Nets map volumes [B, D, H, W, C] as well, if initialised on them.

  Raises:
    ValueError: if no network or no dtype has this name.
  """
  if name not in _MODELS:
    raise ValueError(f'Unknown model {name!r}; known: {sorted(_MODELS)}.')
  options = dict(options or {})
  dtype = options.get('dtype')
  if isinstance(dtype, str):
    if dtype not in _DTYPES:
      raise ValueError(f'Unknown dtype {dtype!r}; known: {sorted(_DTYPES)}.')
    options['dtype'] = _DTYPES[dtype]
  return _MODELS[name](num_classes=num_classes, **options)
