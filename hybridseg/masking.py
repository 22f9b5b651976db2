"""Helpers that all losses share: checks, dtypes, means over counted pixels."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def wide_dtype(dtype: Any) -> Any:
  """Returns float64 for float64, and float32 for every other dtype."""
  # `jnp.promote_types` would fail under strict dtype promotion.
  return jnp.float64 if dtype == jnp.float64 else jnp.float32


def widen(x: jax.Array) -> jax.Array:
  """Converts an array to float32, unless it is float64 already.

  Sums over pixels need this: bfloat16 cannot count beyond 256, and the largest
  float16 is 65504. Gradients are returned in the dtype of `x`.
  """
  return jnp.asarray(x, wide_dtype(x.dtype))


def space(logits: jax.Array) -> tuple[int, ...]:
  """Returns the spatial axes of [B, ..., K]: all but the first and the last."""
  return tuple(range(1, logits.ndim - 1))


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
  """Refuses targets whose shape differs from that of the logits.

  Raises:
    ValueError: if the shapes differ.
  """
  if logits.shape != labels.shape:
    raise ValueError(f'{logits.shape=} differs from {labels.shape=}.')


def check_label_map(
    label_map: jax.Array, *, name: str = 'label_map'
) -> None:
  """Refuses a label map whose dtype cannot hold every class and 255.

  Args:
    label_map: class per pixel, [B, ...].
    name: name of the label map, for messages.

  Raises:
    ValueError: if the dtype is neither an integer nor bool, or if it is int8,
      which would store 255, the mark of unlabelled pixels, as -1.
  """
  dtype = label_map.dtype
  if dtype == jnp.int8:
    raise ValueError(
        f'{name} is int8, in which 255, the unlabelled pixels, became -1: read '
        'it as uint8.')
  if not any(jnp.issubdtype(dtype, x) for x in (jnp.bool_, jnp.integer)):
    raise ValueError(
        f'{name} is {dtype}: it must hold whole numbers, as uint8 does.')


def to_int32(label_map: jax.Array) -> jax.Array:
  """Converts a label map of bools or integers to int32.

  A number that does not fit an int32 becomes -1, which is not a class. A plain
  cast would turn it into another number: 2^32 + 1 would become 1.

  Args:
    label_map: class per pixel, [B, ...].
  """
  if label_map.dtype.itemsize > 4:
    lib = jnp if isinstance(label_map, jax.Array) else np
    held = (label_map >= -(2**31)) & (label_map < 2**31)
    label_map = lib.where(held, label_map, -1)
  return label_map.astype(jnp.int32)


def check_pixels(pixels: jax.Array, logits: jax.Array, *, name: str) -> None:
  """Refuses an array of one value per pixel if it does not fit the logits.

  A product of the two arrays would otherwise broadcast silently.

  Args:
    pixels: one value of any dtype per pixel, [B, ...].
    logits: float [B, ..., K].
    name: name of `pixels`, for messages.

  Raises:
    ValueError: if the shapes do not agree.
  """
  if pixels.shape != logits.shape[:-1]:
    raise ValueError(
        f'{name}.shape={pixels.shape} differs from {logits.shape[:-1]=}.')


def where_or_all(where: jax.Array | None, logits: jax.Array) -> jax.Array:
  """Returns `where`, bool [B, ...], or True for all pixels if it is None.

  Args:
    where: bool [B, ...], or None.
    logits: float [B, ..., K].

  Raises:
    ValueError: if the shapes do not agree.
  """
  if where is None:
    return jnp.ones(logits.shape[:-1], bool)
  check_pixels(where, logits, name='where')
  return where


def probabilities(logits: jax.Array, where: jax.Array) -> jax.Array:
  """Returns the softmax over the last axis, 0 at pixels that do not count.

  Such pixels may hold nan, which reaches neither the values nor the gradients.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that count, bool [B, ...].

  Returns:
    Probabilities, at least float32 [B, ..., K].
  """
  logits, where = widen(logits), where[..., None]
  # The inner mask keeps nan out of the gradients.
  return jnp.where(where, jax.nn.softmax(jnp.where(where, logits, 0), -1), 0)


def mean(
    values: jax.Array, counts: jax.Array, axes: int | tuple[int, ...]
) -> jax.Array:
  """Returns the mean of the values that count, or 0 if none does.

  Args:
    values: floats, which may be nan where they do not count.
    counts: which values count, bool, of the same shape as `values`.
    axes: axes to average over.

  Returns:
    The means, at least float32.
  """
  total = jnp.sum(jnp.where(counts, widen(values), 0), axes)
  count = jnp.maximum(jnp.sum(counts, axes, dtype=jnp.int32), 1)
  return total / count.astype(total.dtype)
