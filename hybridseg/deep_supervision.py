"""Losses of the coarser outputs of a U-Net: deep supervision.

Each level of the decoder but the coarsest has logits of its own, which learn
the labels at its resolution, as in nnU-Net (Isensee et al., 2021,
https://doi.org/10.1038/s41592-020-01008-z).
"""

from collections.abc import Callable, Sequence

import jax


def output_weights(number: int) -> tuple[float, ...]:
  """Returns 1, 1/2, 1/4, ... for `number` outputs, divided by their sum."""
  halves = [0.5**i for i in range(number)]
  return tuple(w / sum(halves) for w in halves)


def combined_losses(
    loss_fn: Callable[..., jax.Array],
    outputs: Sequence[jax.Array],
    labels: jax.Array,
    where: jax.Array,
    images: jax.Array,
) -> jax.Array:
  """Computes the weighted mean of the losses of all outputs.

  loss_k = sum_i w_i loss_fn(logits_i, labels_i, where_i, images_i)_k, with w
  from `output_weights`. labels_i, where_i and images_i are the pixels in the
  middle of those that output i joins: of s pixels along an axis, pixel s // 2.

  Args:
    loss_fn: maps logits, labels, where and images to losses, float [B].
    outputs: logits, finest first, float [B, ..., K] each, of sides that divide
      those of the labels.
    labels: one-hot targets, float [B, ..., K].
    where: labelled pixels, bool [B, ...].
    images: intensities, float [B, ..., C].

  Returns:
    Losses, float [B].
  """
  terms = []
  for weight, logits in zip(
      output_weights(len(outputs)), outputs, strict=True):
    steps = [n // m for n, m in zip(
        where.shape[1:], logits.shape[1:-1], strict=True)]
    at = (slice(None), *(slice(s // 2, None, s) for s in steps))
    terms.append(
        weight * loss_fn(logits, labels[at], where[at], images[at]))
  return sum(terms[1:], terms[0])
