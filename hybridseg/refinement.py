"""Weak labels corrected by the networks that have learnt from them."""

import jax
import jax.numpy as jnp


def gated_trust(indicators: jax.Array, *, threshold: float) -> jax.Array:
  """Returns how much the evidence of each annotation counts, float [B].

  trust_k = w_k where w_k >= threshold, else 0: an annotation that is distrusted
  gives no evidence at all, for a weak voice of a faulty one still pulls.

  Args:
    indicators: w, float [B], in [0, 1].
    threshold: smallest indicator that is listened to.
  """
  return jnp.where(indicators >= threshold, indicators, 0)


def annotation_evidence(
    labels: jax.Array,
    *,
    num_classes: int,
    inside: jax.Array,
    outside: jax.Array,
    present: jax.Array | None = None,
) -> jax.Array:
  """Returns what annotations say of each pixel, in nats for each class.

  With label y_kp of pixel p of annotation k,

    e_kpc = inside_k   if y_kp = c > 0,
            outside_k  if y_kp = c = 0,
            0          else, so where y_kp is `hybridseg.UNLABELLED`.

  Inside of a box or an outline is an object at most, outside there is none: one
  number for each, which depend on the kind of annotation. An image tag, whose
  pixels are all unlabelled, says the same of all of them: inside_k for each
  class that it names, -outside_k for each that it says is not there.

  Args:
    labels: label maps, uint8 [B, H, W].
    num_classes: number of classes K.
    inside: float [B], 0 or more.
    outside: float [B], 0 or more.
    present: what a tag says of each class, uint8 [B, K]: 1 there, 0 not there,
      `hybridseg.UNLABELLED` unknown; None without tags.

  Returns:
    Evidence, float32 [B, H, W, K].
  """
  strength = jnp.stack(
      [outside, *[inside] * (num_classes - 1)], axis=-1).astype(jnp.float32)
  # Of an unlabelled pixel, all zeros.
  found = jax.nn.one_hot(
      labels, num_classes, dtype=jnp.float32) * strength[:, None, None]
  if present is not None:
    of_tag = jnp.where(
        present == 1, inside[:, None],
        jnp.where(present == 0, -outside[:, None], 0))
    found = found + of_tag.at[:, 0].set(0)[:, None, None]
  return found


def refine_labels(
    probabilities: jax.Array,
    evidence: jax.Array,
    trust: jax.Array,
    *,
    floor: float = 1e-6,
) -> jax.Array:
  """Returns the most probable class of each pixel by networks and annotation.

    y'_kp = argmax_c [ log m_kpc + t_k e_kpc ],

  with the mean probability m of the networks, the evidence e of the annotation
  and the trust t in it: Bayes' rule, were the annotation's errors independent
  of the networks', with e the log likelihood of what was drawn. Where t_k is 0,
  this is the prediction. Own addition.

  Args:
    probabilities: m, float [B, H, W, K].
    evidence: e, from `annotation_evidence`, float [B, H, W, K].
    trust: t, from `gated_trust`, float [B].
    floor: smallest probability, so that evidence can outweigh a network that is
      wrong and sure of it.

  Returns:
    Classes, uint8 [B, H, W]; of equals the first.

  Raises:
    ValueError: if probabilities and evidence differ in shape.
  """
  if probabilities.shape != evidence.shape:
    raise ValueError(f'{probabilities.shape=} differs from {evidence.shape=}.')
  scores = jnp.log(jnp.maximum(probabilities, floor))
  scores = scores + trust[:, None, None, None] * evidence
  return jnp.argmax(scores, axis=-1).astype(jnp.uint8)
