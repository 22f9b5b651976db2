"""Regularisers: losses of the prediction alone, or of prediction and image.

As in `losses`, logits are float [B, ..., K], `where` is bool [B, ...], results
are float [B], and a pixel that does not count may hold nan. All axes but the
first and the last are spatial, so the losses work in 2-D and 3-D.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import masking


def _check_images(logits, images):
  if images.shape[:-1] != logits.shape[:-1]:
    raise ValueError(f'{images.shape[:-1]=} differs from {logits.shape[:-1]=}.')


def entropy_loss(
    logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
  """Computes the mean entropy of the prediction.

  loss_k = mean_p -sum_c q_pc log q_pc, q = softmax. Grandvalet and Bengio,
  "Semi-supervised Learning by Entropy Minimization", 2004, eq. 6.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss in nats, float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes of `logits` and `where` do not agree.
  """
  where = masking.where_or_all(where, logits)
  logits = jnp.where(where[..., None], masking.widen(logits), 0)
  log_probs = jax.nn.log_softmax(logits, -1)
  entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
  return masking.mean(entropy, where, masking.space(logits))


def total_variation_loss(
    logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
  """Computes the mean change of the prediction between neighbouring pixels.

  loss_k = mean of sum_c |q_pc - q_p'c| / 2 over all pairs (p, p') of counted
  pixels that are neighbours along an axis. The loss grows with the length of
  the outlines. Rudin, Osher and Fatemi, 1992 (anisotropic).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss in [0, 1], float [B]; 0 without a counted pair.

  Raises:
    ValueError: if the shapes of `logits` and `where` do not agree.
  """
  where = masking.where_or_all(where, logits)
  probs = masking.probabilities(logits, where)
  offsets = np.eye(logits.ndim - 2, dtype=int)
  change = lambda a, b: jnp.sum(jnp.abs(a - b), axis=-1) / 2
  return _mean_over_pairs([
      (change(*_pair(probs, o)), _both(where, o)) for o in offsets
  ])


def gated_crf_loss(
    logits: jax.Array,
    images: jax.Array,
    *,
    where: jax.Array | None = None,
    radius: int = 2,
    sigma_xy: float = 3.0,
    sigma_rgb: float = 0.1,
) -> jax.Array:
  """Penalises different classes at nearby pixels of similar intensity.

  loss_k = mean of kernel_pp' (1 - sum_c q_pc q_p'c) over all pairs (p, p') of
  counted pixels that are at most `radius` apart along each axis, with

  kernel = exp(-|p - p'|^2 / (2 sigma_xy^2) - |I_p - I_p'|^2 / (2 sigma_rgb^2)).

  Obukhov et al., "Gated CRF Loss for Weakly Supervised Semantic Image
  Segmentation", 2019 (https://arxiv.org/abs/1906.04651, eq. 5), with `where` as
  the gate of both pixels, and with a mean instead of the sum over pairs.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    images: intensities in [0, 1], float [B, ..., C].
    where: pixels that count, bool [B, ...]; None counts all of them.
    radius: radius of the neighbourhood, in pixels.
    sigma_xy: width of the kernel in space, in pixels.
    sigma_rgb: width of the kernel in intensity; the squared differences of the
      channels are summed.

  Returns:
    Loss in [0, 1], float [B]; 0 without a counted pair.

  Raises:
    ValueError: if the shapes of `logits`, `images`, `where` do not agree.
  """
  _check_images(logits, images)
  where = masking.where_or_all(where, logits)
  probs = masking.probabilities(logits, where)
  images = jnp.where(where[..., None], masking.widen(images), 0)
  reach = range(-radius, radius + 1)
  terms = []
  for offset in itertools.product(reach, repeat=logits.ndim - 2):
    if offset <= (0,) * len(offset):
      continue  # Count each pair once.
    one, other = _pair(images, offset)
    distance = sum(o**2 for o in offset) / (2 * sigma_xy**2)
    colour = jnp.sum(jnp.square(one - other), -1) / (2 * sigma_rgb**2)
    one, other = _pair(probs, offset)
    unlike = 1 - jnp.sum(one * other, axis=-1)
    terms.append(
        (jnp.exp(-distance - colour) * unlike, _both(where, offset)))
  return _mean_over_pairs(terms)


def mumford_shah_loss(
    logits: jax.Array,
    images: jax.Array,
    *,
    where: jax.Array | None = None,
    tv_scale: float = 0.1,
) -> jax.Array:
  """Penalises classes of uneven intensity, and long outlines.

  loss_k = mean_p sum_c q_pc |I_p - mu_c|^2 + tv_scale * total variation, with
  mu_c = sum_p q_pc I_p / sum_p q_pc; the square is averaged over the channels.
  Kim and Ye, "Mumford-Shah Loss Functional for Image Segmentation with Deep
  Learning", 2019 (https://arxiv.org/abs/1904.02872, eq. 5).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    images: intensities in [0, 1], float [B, ..., C].
    where: pixels that count, bool [B, ...]; None counts all of them.
    tv_scale: factor of `total_variation_loss`.

  Returns:
    Loss, float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes of `logits`, `images`, `where` do not agree.
  """
  _check_images(logits, images)
  where = masking.where_or_all(where, logits)
  probs = masking.probabilities(logits, where)[..., None, :]
  images = jnp.where(where[..., None], masking.widen(images), 0)[..., None]
  space = masking.space(logits)
  size = jnp.sum(probs, space, keepdims=True)
  mean = jnp.sum(probs * images, space, keepdims=True) / jnp.maximum(size, 1e-6)
  spread = jnp.mean(jnp.sum(probs * jnp.square(images - mean), -1), axis=-1)
  return masking.mean(spread, where, space) + tv_scale * total_variation_loss(
      logits, where=where
  )


def _pair(x, offset):
  """Returns the values at both pixels of every pair that is `offset` apart."""
  low = [slice(max(-o, 0), n - max(o, 0))
         for o, n in zip(offset, x.shape[1:], strict=False)]
  high = [slice(max(o, 0), n - max(-o, 0))
          for o, n in zip(offset, x.shape[1:], strict=False)]
  return x[:, *low], x[:, *high]


def _both(where, offset):
  one, other = _pair(where, offset)
  return one & other


def _mean_over_pairs(terms):
  """Returns the mean over all counted pairs of pixels, float [B].

  Args:
    terms: pairs of (values, counts); `values` has one value per pair of pixels,
      and `counts`, bool, marks the values that count.
  """
  space = tuple(range(1, terms[0][0].ndim))
  total = sum(jnp.sum(jnp.where(ok, v, 0), space) for v, ok in terms)
  # Add the counts as floats: a volume may have more pairs than an int32 holds.
  count = sum(jnp.sum(ok, space, dtype=jnp.int32).astype(total.dtype)
              for _, ok in terms)
  return total / jnp.maximum(count, 1)
