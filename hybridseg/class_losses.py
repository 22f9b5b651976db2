"""Segmentation losses that are divided among the foreground classes.

Each function divides a loss of the same name in `losses` into one part per
foreground class, float [B, K - 1]; the parts of an instance add up to its loss.
With `Weighting.per_class`, each part has a weight of its own.

A labelled pixel of a foreground class counts for this class. A pixel that is
labelled as background counts for the classes that the network would put there:
it is shared in proportion to their probabilities q, r_pc = q_pc / sum_d q_pd.
If an object of class c is missing in an annotation, its pixels thus count
against class c. The shares r are constants for the gradient, so that the
gradients of the parts, too, add up to that of the loss. With two classes, all
shares are 1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hybridseg import losses
from hybridseg import masking


def cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Divides `losses.cross_entropy_loss` among the foreground classes.

  loss_kc = sum_p where_kp * s_kpc * CE(logits_kp, labels_kp)
            / max(1, sum_p where_kp),
  s_kpc = labels_kpc + labels_kp0 * r_kpc.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Losses in nats, float [B, K - 1].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  return _of_labels(
      logits, labels, where, lambda labels: losses.cross_entropy_loss(
          logits, labels, where=where))


def balanced_cross_entropy(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Divides `losses.balanced_cross_entropy_loss` among the foreground classes.

  The mean of each class is divided as in `cross_entropy`.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Losses in nats, float [B, K - 1].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  space = masking.space(logits)
  labels = jnp.where(where[..., None], masking.widen(labels), 0)
  count = jnp.sum(labels, axis=space, keepdims=True)
  number = jnp.sum(count > 0, axis=-1, keepdims=True, dtype=labels.dtype)
  pixels = jnp.sum(where, axis=space, dtype=labels.dtype).reshape(number.shape)
  # `cross_entropy_loss` divides by the number of pixels.
  scale = jnp.maximum(pixels, 1) / (
      jnp.maximum(count, 1) * jnp.maximum(number, 1))
  return _of_labels(
      logits, labels, where, lambda labels: losses.cross_entropy_loss(
          logits, labels * scale, where=where))


def soft_dice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    epsilon: float = 1.0,
) -> jax.Array:
  """Divides `losses.soft_dice_loss` among the foreground classes.

  loss_kc = (dice_kc + dice_k0 / (K - 1)) / K, where dice_kc is the soft Dice
  loss of class c. That of the background is shared equally.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    epsilon: as in `losses.soft_dice_loss`.

  Returns:
    Losses, float [B, K - 1].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  dice = losses.soft_dice_of_classes(
      logits, labels, where=where, epsilon=epsilon)
  number = dice.shape[-1]
  return (dice[:, 1:] + dice[:, :1] / (number - 1)) / number


def cross_entropy_dice(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Returns `cross_entropy` + `soft_dice`.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Losses, float [B, K - 1].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  return cross_entropy(logits, labels, where=where) + soft_dice(
      logits, labels, where=where)


def _of_labels(
    logits: jax.Array,
    labels: jax.Array,
    where: jax.Array,
    loss_fn: Callable[[jax.Array], jax.Array],
) -> jax.Array:
  """Returns a loss that is linear in the labels, for the share of each class.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...].
    loss_fn: maps labels to losses, float [B].
  """
  safe = jnp.where(where[..., None], masking.widen(logits), 0)
  labels = jnp.where(where[..., None], masking.widen(labels), 0)
  probs = jax.lax.stop_gradient(jax.nn.softmax(safe[..., 1:], axis=-1))
  shares = labels[..., 1:] + labels[..., :1] * probs
  return jax.vmap(
      lambda share: loss_fn(labels * share[..., None]), -1, -1)(shares)
