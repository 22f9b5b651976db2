"""Checks arrays of a PyTorch `state_dict`, and turns BatchNorm into factors."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

# The arrays of a BatchNorm layer.
BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var')


def take(
    state: Mapping[str, Any], name: str, shape: tuple[int, ...], *, network: str
) -> np.ndarray:
  """Returns an array of a `state_dict`, after checking it.

  Args:
    state: maps names to arrays.
    name: name of the array.
    shape: shape that the array must have.
    network: description of the network, for messages.

  Returns:
    The array, float64.

  Raises:
    ValueError: if the array is missing, has another shape, does not hold
      floating-point numbers, or is not finite in float32.
  """
  if name not in state:
    raise ValueError(f'There is no {name!r}, which {network} has.')
  value = np.asarray(state[name])
  if value.shape != shape:
    raise ValueError(
        f'{name!r} has shape {value.shape}; in {network} it has {shape}.')
  # NumPy does not count bfloat16 as a floating-point type, but JAX does.
  if not jnp.issubdtype(value.dtype, jnp.floating):
    raise ValueError(
        f'{name!r} is of {value.dtype}; weights are floating-point numbers.')
  return _finite(value.astype(np.float64), name)


def batch_norm(
    state: Mapping[str, Any],
    name: str,
    num_channels: int,
    *,
    epsilon: float,
    network: str,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns BatchNorm with fixed statistics as x * scale + bias.

  With weight g, bias b and running statistics m and v,

    scale = g / sqrt(v + epsilon), bias = b - m * scale.

  Args:
    state: maps names to arrays.
    name: name of the layer.
    num_channels: number of its channels, C.
    epsilon: what the layer adds to the variance.
    network: description of the network, for messages.

  Returns:
    Scale and bias, float64 [C].

  Raises:
    ValueError: if an array is missing or does not fit, see `take`, if a
      variance is negative, or if the results are not finite in float32.
  """
  weight, bias, mean, variance = (
      take(state, f'{name}.{part}', (num_channels,), network=network)
      for part in BATCH_NORM)
  if variance.min() < 0:
    raise ValueError(
        f"'{name}.running_var' holds {variance.min():.3g}, but a variance is "
        'never negative.')
  scale = _finite(weight / np.sqrt(variance + epsilon), f'{name}.weight')
  return scale, _finite(bias - mean * scale, f'{name}.running_mean')


def to_float32(value: np.ndarray, name: str) -> np.ndarray:
  """Returns numbers as float32.

  Args:
    value: numbers, float64.
    name: name of the array in the file, for the message.

  Raises:
    ValueError: if a number is not finite in float32.
  """
  return _finite(value, name).astype(np.float32)


def _finite(value, name):
  """Returns an array if it is finite in float32, or else raises an error."""
  # A comparison with nan is false.
  if not (np.abs(value) <= np.finfo(np.float32).max).all():
    raise ValueError(
        f'{name!r} holds a nan, an infinity, or numbers too large for float32.')
  return value
