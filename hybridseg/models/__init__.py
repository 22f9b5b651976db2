"""The networks, each in a module of its own; `build` makes one by name."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

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
# float16 is left out, because its small range would require loss scaling.
_DTYPES = {'bfloat16': jnp.bfloat16, 'float32': jnp.float32}


def build(
    name: str, *, num_classes: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
  """Builds a network by name.

  Args:
    name: one of the keys of `_MODELS`.
    num_classes: number of classes K, background included.
    options: further attributes of the network, for example `features`; `dtype`
      is a dtype, or its name, one of the keys of `_DTYPES`.

  Returns:
    A `flax.linen` module that maps images [B, H, W, C] to logits [B, H, W, K];
    `unet` and `residual_unet` also map volumes [B, D, H, W, C] if they are
    initialised on volumes.

  Raises:
    ValueError: if the name of the network, of an option or of a dtype is
      unknown, or if an option is not a valid number of channels or blocks, or
      a valid list of strides or kernels.
  """
  if name not in _MODELS:
    raise ValueError(f'Unknown model {name!r}; known: {sorted(_MODELS)}.')
  options = dict(options or {})
  defaults = {
      field.name: field.default for field in dataclasses.fields(_MODELS[name])
      if field.name not in ('num_classes', 'parent', 'name')}
  for key, value in options.items():
    if key not in defaults:
      raise ValueError(
          f'Unknown option {key!r:.40} of {name}; known: {sorted(defaults)}.')
    _check_option(key, value, isinstance(defaults[key], tuple))
  if isinstance(options.get('dtype'), str):
    options['dtype'] = _DTYPES[options['dtype']]
  return _MODELS[name](num_classes=num_classes, **options)


def _check_option(key, value, is_list):
  """Refuses wrong option values that Flax accepts or reports less clearly."""
  if key == 'dtype':
    fits = value in _DTYPES if isinstance(value, str) else _is_dtype(value)
    if not fits:
      raise ValueError(
          f'Unknown dtype {value!r:.40}; known: {sorted(_DTYPES)}.')
  elif key in ('features', 'decoder_features'):
    numbers = value if is_list else [value]
    if not isinstance(numbers, (list, tuple)) or not numbers or not all(
        _is_whole(n) and (0 < n < 8 or n > 0 and n % 8 == 0) for n in numbers):
      what = 'a list of whole numbers' if is_list else 'a whole number'
      each = ', each' if is_list else ','
      raise ValueError(
          f'{key} is {value!r:.60}: use {what} of channels{each} from 1 to 7 '
          'or a multiple of 8.')
  elif key in ('strides', 'kernels') and value is not None:
    fits = (lambda n: n in (1, 2)) if key == 'strides' else (
        lambda n: n > 0 and n % 2)
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(row, (list, tuple)) and row
        and all(_is_whole(n) and fits(n) for n in row) for row in value):
      numbers = '1 or 2' if key == 'strides' else 'odd and positive'
      raise ValueError(
          f'{key} is {value!r:.60}: use a list of lists of whole numbers, one '
          f'number for each axis, {numbers}.')
  elif key == 'deep_supervision' and not isinstance(value, bool):
    raise ValueError(f'{key} is {value!r:.60}: use True or False.')
  elif key == 'frozen_until' and not _is_whole(value):
    raise ValueError(f'{key} is {value!r:.60}: use a whole number of blocks.')


def _is_whole(value):
  return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_dtype(value):
  try:
    return value is not None and not isinstance(value, list) and bool(
        jnp.dtype(value))
  except TypeError:
    return False
