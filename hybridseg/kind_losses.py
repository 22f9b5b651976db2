"""Combines one loss per kind of annotation into a loss for mixed batches."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import masking
from hybridseg import types


class Annotation(NamedTuple):
  """The annotations and images of a batch, which every term of a loss receives.

  Attributes:
    labels: one-hot targets, float [B, ..., K].
    where: labelled pixels, bool [B, ...].
    present: presence of each class according to the image tags, uint8 [B, K],
      see `weak_losses.tag_loss`.
    images: intensities in [0, 1], float [B, ..., C].
  """

  labels: jax.Array
  where: jax.Array
  present: jax.Array
  images: jax.Array


# Maps logits, float [B, ..., K], and the annotations to losses, float [B].
Term = Callable[[jax.Array, Annotation], jax.Array]


def of_labels(loss_fn: Callable[..., jax.Array]) -> Term:
  """Turns a loss(logits, labels, where=...) of the labels into a `Term`."""
  return lambda logits, a: loss_fn(logits, a.labels, where=a.where)


def of_tags(loss_fn: Callable[..., jax.Array]) -> Term:
  """Turns a loss(logits, present) of the image tags into a `Term`."""
  return lambda logits, a: loss_fn(logits, a.present)


def of_pixels(loss_fn: Callable[..., jax.Array]) -> Term:
  """Turns a regulariser(logits) of all pixels into a `Term`."""
  return lambda logits, a: loss_fn(logits)


def of_images(loss_fn: Callable[..., jax.Array]) -> Term:
  """Turns a regulariser(logits, images) of all pixels into a `Term`."""
  return lambda logits, a: loss_fn(logits, a.images)


def by_kind(
    table: Mapping[types.AnnotationKind, Sequence[tuple[float, Term]]],
    *,
    default: Sequence[tuple[float, Term]] = (),
) -> Callable[..., jax.Array]:
  """Returns a loss whose terms depend on each instance's annotation kind.

  loss_k = sum_t table[kind_k][t] * term_t(logits_k). Every term is computed
  once for the whole batch and then multiplied by a factor from a table, so that
  one compiled program serves any mixture of kinds.

  Args:
    table: maps each kind to pairs of a factor and a term.
    default: pairs for the kinds that are not in the table.

  Returns:
    loss(logits, labels, *, where, kind, present, images) -> float [B], with
    `kind` int [B]: see `train_step.Supervision.by_kind`. The loss is nan for an
    instance whose kind is not a member of `AnnotationKind`.

  Raises:
    ValueError: if there is no term at all, or if a key is not an annotation
      kind.
  """
  factors = np.zeros((max(types.AnnotationKind) + 1, 0), np.float64)
  terms = []
  kinds = {types.AnnotationKind(k): v for k, v in table.items()}
  for kind in types.AnnotationKind:
    for factor, term in kinds.get(kind, default):
      if term not in terms:
        terms.append(term)
        factors = np.pad(factors, ((0, 0), (0, 1)))
      factors[kind, terms.index(term)] += factor
  if not terms:
    raise ValueError('No kind has a loss.')

  def loss(logits, labels, *, where, kind, present, images):
    annotation = Annotation(labels, where, present, images)
    if not jnp.issubdtype(kind.dtype, jnp.integer):
      raise ValueError(f'kind is {kind.dtype}: it must be int32.')
    # A value that is not a kind selects a row of nans, not the row of another
    # kind.
    row = jnp.where((kind >= 0) & (kind < len(factors)), kind, len(factors))
    dtype = masking.wide_dtype(logits.dtype)
    chosen = jnp.asarray(factors, dtype).at[row].get(
        mode='fill', fill_value=jnp.nan)  # Factors, [B, T].
    total = jnp.zeros(logits.shape[0], dtype)
    for factor, term in zip(chosen.T, terms, strict=True):
      used = factor != 0
      # 0 * nan is nan, also in a gradient. An unused term therefore gets zeros
      # as logits.
      space = (slice(None),) + (None,) * (logits.ndim - 1)
      values = term(
          jnp.where(used[space], logits, 0), annotation).astype(dtype)
      total += jnp.where(used, factor * values, 0)
    return total

  return loss
