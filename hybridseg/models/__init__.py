"""Networks: one file each, built by name."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from hybridseg.models import unet

_MODELS = {'unet': unet.UNet}


def build(
    name: str, *, num_classes: int, options: Mapping[str, Any] | None = None
) -> nn.Module:
  """Builds a network by name.

  Args:
    name: one of the keys of `_MODELS`.
    num_classes: number of classes K, background included.
    options: further attributes of the network, for example `features`.

  Returns:
    A `flax.linen` module that maps images [B, H, W, C] to logits [B, H, W, K].

  Raises:
    ValueError: if no network has this name.
  """
  if name not in _MODELS:
    raise ValueError(f'Unknown model {name!r}; known: {sorted(_MODELS)}.')
  return _MODELS[name](num_classes=num_classes, **dict(options or {}))
