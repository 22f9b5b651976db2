"""Segmentation losses with one value per instance.

Every loss takes unnormalised scores, float [B, ..., K], and one-hot targets of
the same shape, and returns one value per instance, float [B]; the caller
reduces over the batch. `where`, bool [B, ...], is True for the pixels that
count; the others may hold nan.

Losses are float32, or float64 for float64 scores, because a half-precision
number cannot count the pixels of an image. Gradients have the dtype of the
scores. In float16, gradients below 6e-8 become 0, so that the mean over a large
image loses most or all of them: scale the loss up, or let the network return
float32 scores, as those of `hybridseg.models` do.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hybridseg import masking
from hybridseg import types


def one_hot_labels(
    label_map: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
  """Splits a stored label map into one-hot targets and the labelled pixels.

  Args:
    label_map: class per pixel, integer [B, ...], `types.UNLABELLED` where
      unknown.
    num_classes: number of classes K, background included.

  Returns:
    One-hot targets, float32 [B, ..., K] (all 0 where unknown), and `where`,
    bool [B, ...], True at labelled pixels. A pixel whose value is neither a
    class nor `types.UNLABELLED` has nan targets: with zeros, it would count as
    a pixel without any loss.

  Raises:
    ValueError: if the map holds neither integers nor bools, or is int8, which
      cannot hold 255.
  """
  masking.check_label_map(label_map)
  label_map = masking.to_int32(label_map)
  labels = jax.nn.one_hot(label_map, num_classes, dtype=jnp.float32)
  where = label_map != types.UNLABELLED
  is_class = (label_map >= 0) & (label_map < num_classes)
  labels = jnp.where((where & ~is_class)[..., None], jnp.nan, labels)
  return labels, where


def _pixel_cross_entropy(logits, labels, where):
  """Returns the cross entropy of each pixel, 0 at pixels that do not count."""
  # Mask the logits, too, which keeps nan out of the backward pass.
  logits = jnp.where(where[..., None], masking.widen(logits), 0)
  labels = masking.widen(labels)
  nll = -jnp.sum(labels * jax.nn.log_softmax(logits, axis=-1), axis=-1)
  return jnp.where(where, nll, 0)


def cross_entropy_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Computes the mean cross entropy over the pixels that count.

  loss_k = sum_p where_kp * CE(logits_kp, labels_kp) / max(1, sum_p where_kp).

  With the `where` of a sparsely labelled map this is the partial cross entropy
  of scribble supervision (Tang et al., "Normalized Cut Loss for
  Weakly-supervised CNN Segmentation", 2018, https://arxiv.org/abs/1804.01346,
  eq. 1, first term): unlabelled pixels have no influence on the loss.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot or soft targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss in nats, float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  nll = _pixel_cross_entropy(logits, labels, where)
  return masking.mean(nll, where, masking.space(logits))


def balanced_cross_entropy_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Computes the cross entropy averaged per class, then over present classes.

  loss_k = mean over classes c present in labels_k of
    (sum_p labels_kpc * CE_kp / sum_p labels_kpc).

  A rare class counts as much as the background. Xie and Tu,
  "Holistically-Nested Edge Detection", 2015 (https://arxiv.org/abs/1504.06375,
  eq. 2), balance in a similar way; here the weights of the classes sum to one.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss in nats, float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  nll = _pixel_cross_entropy(logits, labels, where)
  labels = jnp.where(where[..., None], masking.widen(labels), 0)
  space = masking.space(logits)
  count = jnp.sum(labels, axis=space)
  per_class = jnp.sum(labels * nll[..., None], axis=space)
  mean = per_class / jnp.maximum(count, 1)
  present = count > 0
  num_present = jnp.sum(present, axis=-1, dtype=mean.dtype)
  return jnp.sum(jnp.where(present, mean, 0), -1) / jnp.maximum(num_present, 1)


def soft_dice_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    epsilon: float = 1.0,
) -> jax.Array:
  """Computes the soft Dice loss, averaged over the classes.

  loss_k = mean_c 1 - (2 * sum_p q_pc y_pc + epsilon)
                      / (sum_p q_pc + sum_p y_pc + epsilon),  q = softmax.

  Milletari et al., "V-Net", 2016 (https://arxiv.org/abs/1606.04797, section 3),
  but with plain instead of squared terms in the denominator.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    epsilon: number of pixels added to numerator and denominator; an empty
      prediction of an empty class then has the loss 0.

  Returns:
    Loss in [0, 1], float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  return jnp.mean(soft_dice_of_classes(
      logits, labels, where=where, epsilon=epsilon), axis=-1)


def soft_dice_of_classes(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    epsilon: float = 1.0,
) -> jax.Array:
  """Computes the soft Dice loss of each class, see `soft_dice_loss`.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    epsilon: as in `soft_dice_loss`.

  Returns:
    Losses in [0, 1], float [B, K].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  probs = masking.probabilities(logits, where)
  labels = jnp.where(where[..., None], masking.widen(labels), 0)
  space = masking.space(logits)
  overlap = jnp.sum(probs * labels, axis=space)
  size = jnp.sum(probs + labels, axis=space)
  return 1 - (2 * overlap + epsilon) / (size + epsilon)


def cross_entropy_dice_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Returns `cross_entropy_loss` + `soft_dice_loss`, the usual supervised loss.

  Isensee et al., "nnU-Net", 2021 (https://doi.org/10.1038/s41592-020-01008-z)
  trains with this sum.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss, float [B].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  return cross_entropy_loss(logits, labels, where=where) + soft_dice_loss(
      logits, labels, where=where
  )


def without_class_prior(
    logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
  """Returns the logits unchanged, but removes constant shifts from gradients.

  The forward pass returns f. The backward pass maps g_pc to g_pc - mean_p g_pc,
  with the mean over the counted pixels of the same instance and class. A
  direction that raises the logit of a class by the same amount at every pixel
  of an image changes only the class prior. Without this part of the gradient, a
  loss has no slope along such a direction. An alignment then depends on *where*
  the annotation lies in the image and not on how much of the image it covers.
  This is our own addition; the measurements behind it are in
  `experiments/results/alignment_loss.md`.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that the loss counts, bool [B, ...]; None counts all of them.

  Returns:
    The same values, at least float32 [B, ..., K]; 0 at pixels that do not
    count.

  Raises:
    ValueError: if the shapes of `logits` and `where` do not agree.
  """
  where = masking.where_or_all(where, logits)[..., None]
  space = masking.space(logits)
  safe = jnp.where(where, masking.widen(logits), 0)
  count = jnp.maximum(
      jnp.sum(where, axis=space, keepdims=True, dtype=jnp.int32), 1
  ).astype(safe.dtype)
  mean = jnp.sum(safe, axis=space, keepdims=True) / count
  # The difference `mean - stop_gradient(mean)` is exactly 0; only its gradient
  # matters.
  return jnp.where(where, safe - (mean - jax.lax.stop_gradient(mean)), 0)


def prior_free(loss_fn: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
  """Applies `without_class_prior` to the logits of a loss.

  Args:
    loss_fn: any loss of this module, `(logits, labels, *, where) -> [B]`.

  Returns:
    A loss with the same values, which has no slope along a constant shift of
    the logits.
  """

  def fn(logits, labels, *, where=None):
    return loss_fn(
        without_class_prior(logits, where=where), labels, where=where
    )

  return fn
