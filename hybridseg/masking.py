"""What all losses do with the pixels that count and those that do not."""

import jax
import jax.numpy as jnp


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
  if where.shape != logits.shape[:-1]:
    raise ValueError(f'{where.shape=} differs from {logits.shape[:-1]=}.')
  return where


def probabilities(logits: jax.Array, where: jax.Array) -> jax.Array:
  """Returns the softmax over the last axis, 0 at pixels left out.

  These may hold nan: it stays out of values and slopes alike.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that count, bool [B, ...].
  """
  where = where[..., None]
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
  """
  total = jnp.sum(jnp.where(counts, values, 0), axes)
  return total / jnp.maximum(jnp.sum(counts, axes, dtype=total.dtype), 1)
