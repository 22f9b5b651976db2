"""What all losses do with the pixels that count and those that do not."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def wide_dtype(dtype: Any) -> Any:
  """Returns float64 for float64, float32 for all else."""
  # Not `jnp.promote_types`, which strict promotion switches off.
  return jnp.float64 if dtype == jnp.float64 else jnp.float32


def widen(x: jax.Array) -> jax.Array:
  """Returns numbers as float64 if they are, else as float32.

  Sums and counts of pixels need them: bfloat16 counts no further than 256, and
  float16 ends at 65504. Gradients come back in the dtype of `x`.
  """
  return jnp.asarray(x, wide_dtype(x.dtype))


def space(logits: jax.Array) -> tuple[int, ...]:
  """Returns the axes between the first and the last: of [B, ..., K]."""
  return tuple(range(1, logits.ndim - 1))


def check_labels(logits: jax.Array, labels: jax.Array) -> None:
  """Refuses targets of another shape than the logits.

  Raises:
    ValueError: if the shapes differ.
  """
  if logits.shape != labels.shape:
    raise ValueError(f'{logits.shape=} differs from {labels.shape=}.')


def check_label_map(
    label_map: jax.Array, *, name: str = 'label_map'
) -> None:
  """Refuses what cannot hold the number of every class and 255.

  Args:
    label_map: class per pixel, [B, ...].
    name: of it, for messages.

  Raises:
    ValueError: if the numbers are no integers, or int8, in which 255, which
      marks unlabelled pixels, is -1.
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
  """Returns a label map, of bools or integers, as int32.

  A number that an int32 does not hold becomes -1, which is no class, where a
  cast would make it another one: 2^32 + 1 becomes 1.

  Args:
    label_map: class per pixel, [B, ...].
  """
  if label_map.dtype.itemsize > 4:
    lib = jnp if isinstance(label_map, jax.Array) else np
    held = (label_map >= -(2**31)) & (label_map < 2**31)
    label_map = lib.where(held, label_map, -1)
  return label_map.astype(jnp.int32)


def check_pixels(pixels: jax.Array, logits: jax.Array, *, name: str) -> None:
  """Refuses one value per pixel, [B, ...], that does not fit [B, ..., K].

  Args:
    pixels: of any dtype, [B, ...].
    logits: float [B, ..., K].
    name: of `pixels`, for messages.

  Raises:
    ValueError: if the shapes do not agree: a product would broadcast them.
  """
  if pixels.shape != logits.shape[:-1]:
    raise ValueError(
        f'{name}.shape={pixels.shape} differs from {logits.shape[:-1]=}.')


def where_or_all(where: jax.Array | None, logits: jax.Array) -> jax.Array:
  """Returns `where`, bool [B, ...]; all pixels count where it is None.

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
  """Returns the softmax over the last axis, 0 at pixels left out.

  These may hold nan: it stays out of values and slopes alike.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that count, bool [B, ...].

  Returns:
    Probabilities, of at least float32, [B, ..., K].
  """
  logits, where = widen(logits), where[..., None]
  # The first mask keeps nan out of the slopes.
  return jnp.where(where, jax.nn.softmax(jnp.where(where, logits, 0), -1), 0)


def mean(
    values: jax.Array, counts: jax.Array, axes: int | tuple[int, ...]
) -> jax.Array:
  """Returns the mean of what counts, 0 where nothing does.

  Args:
    values: may be nan where they do not count.
    counts: bool, of the shape of `values`.
    axes: to average over.

  Returns:
    The means, of at least float32.
  """
  total = jnp.sum(jnp.where(counts, widen(values), 0), axes)
  count = jnp.maximum(jnp.sum(counts, axes, dtype=jnp.int32), 1)
  return total / count.astype(total.dtype)
