"""Corrects weak labels with the predictions of networks trained on them."""

import jax
import jax.numpy as jnp


def gated_trust(indicators: jax.Array, *, threshold: float) -> jax.Array:
  """Returns the trust in each annotation, a factor of its evidence, float [B].

  trust_k = w_k if w_k >= threshold, else 0. Below the threshold, an annotation
  gives no evidence at all, because a faulty annotation changes labels even if
  its factor is small.

  Args:
    indicators: w, float [B], in [0, 1].
    threshold: smallest indicator of an annotation that gives evidence.
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
  """Returns the evidence of annotations for each class at each pixel, in nats.

  With the label y_kp of pixel p in annotation k,

    e_kpc = inside_k   if y_kp = c > 0,
            outside_k  if y_kp = c = 0,
            0          otherwise, for example if y_kp is `hybridseg.UNLABELLED`.

  Both inside_k and outside_k depend on the kind of annotation. They differ
  because the inside of a box or an outline may hold background, too, while its
  outside holds no object. An image tag leaves all pixels unlabelled and gives
  each of them the same evidence: inside_k for each class that it names, and
  -outside_k for each class that it excludes.

  Args:
    labels: label maps, uint8 [B, H, W], or [B, D, H, W] for volumes.
    num_classes: number of classes K.
    inside: evidence of a label that is not background, float [B], 0 or more.
    outside: evidence of a background label, float [B], 0 or more.
    present: classes according to the image tags, uint8 [B, K]: 1 present, 0
      absent, `hybridseg.UNLABELLED` unknown; None without tags.

  Returns:
    Evidence, float32, of the shape of the label maps and K.
  """
  strength = jnp.stack(
      [outside, *[inside] * (num_classes - 1)], axis=-1).astype(jnp.float32)
  # The one-hot vector of an unlabelled pixel is all zeros.
  spread = lambda x: x.reshape(  # [B, K] to [B, 1, ..., K].
      x.shape[0], *[1] * (labels.ndim - 1), num_classes)
  found = jax.nn.one_hot(
      labels, num_classes, dtype=jnp.float32) * spread(strength)
  if present is not None:
    of_tag = jnp.where(
        present == 1, inside[:, None],
        jnp.where(present == 0, -outside[:, None], 0))
    found = found + spread(of_tag.at[:, 0].set(0))
  return found


def refine_labels(
    probabilities: jax.Array,
    evidence: jax.Array,
    trust: jax.Array,
    *,
    floor: float = 1e-6,
) -> jax.Array:
  """Returns the most probable class per pixel, from networks and annotation.

    y'_kp = argmax_c [ log m_kpc + t_k e_kpc ],

  with the mean probability m of the networks, the evidence e of the annotation
  and the trust t in the annotation. This would be Bayes' rule if the errors of
  the annotation were independent of those of the networks, and if e were the
  log likelihood of the annotation. Where t_k is 0, the result is the prediction
  of the networks. This is our own addition.

  Args:
    probabilities: m, float [B, ..., K].
    evidence: e, from `annotation_evidence`, float [B, ..., K].
    trust: t, from `gated_trust`, float [B].
    floor: lower bound of m, so that evidence can outweigh the prediction of
      networks that are wrong but certain.

  Returns:
    Classes, uint8 [B, ...]; among equally probable classes, the first one.

  Raises:
    ValueError: if probabilities and evidence differ in shape.
  """
  if probabilities.shape != evidence.shape:
    raise ValueError(f'{probabilities.shape=} differs from {evidence.shape=}.')
  scores = jnp.log(jnp.maximum(probabilities, floor))
  trust = trust.reshape(-1, *[1] * (evidence.ndim - 1))
  scores = scores + trust * evidence
  return jnp.argmax(scores, axis=-1).astype(jnp.uint8)
