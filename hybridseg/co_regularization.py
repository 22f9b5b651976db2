"""Consistency between two parameter sets that teach each other."""

import jax
import jax.numpy as jnp

from hybridseg import losses


def cross_pseudo_losses(
    logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    pixel_weights: jax.Array | None = None,
) -> jax.Array:
  """Computes the loss of one network against the other's hard pseudo labels.

  loss_k = mean_p weight_kp * CE(logits_kp, argmax_c teacher_logits_kpc); no
  gradient reaches the teacher. Chen et al., "Semi-Supervised Semantic
  Segmentation with Cross Pseudo Supervision", 2021
  (https://arxiv.org/abs/2106.01226, eq. 2). With CutMix, `logits` are those of
  the mixed images and `teacher_logits` the mix of the logits of the plain ones
  (their section 3.2), and the weights are mixed the same way.

  Args:
    logits: scores of the student, float [B, ..., K].
    teacher_logits: scores of the other network on the same pixels, float
      [B, ..., K].
    pixel_weights: trust in each pixel's source, float [B, ...]; None is 1.

  Returns:
    Loss in nats, float [B].

  Raises:
    ValueError: if the shapes of the two logits differ.
  """
  if logits.shape != teacher_logits.shape:
    raise ValueError(f'{logits.shape=} differs from {teacher_logits.shape=}.')
  pseudo = jnp.argmax(jax.lax.stop_gradient(teacher_logits), axis=-1)
  labels = jax.nn.one_hot(pseudo, logits.shape[-1], dtype=logits.dtype)
  if pixel_weights is not None:
    # Scaled targets scale the pixel's cross entropy.
    labels = labels * jax.lax.stop_gradient(pixel_weights)[..., None]
  return losses.cross_entropy_loss(logits, labels)


def ramp_up(
    step: jax.Array, *, scale: float, ramp_up_steps: int
) -> jax.Array:
  """Returns the weight of the consistency at a step.

  scale * exp(-5 * (1 - min(step / ramp_up_steps, 1))^2): Laine and Aila,
  "Temporal Ensembling", 2017 (https://arxiv.org/abs/1610.02242, section 3).

  Args:
    step: number of updates done, int32 [].
    scale: final value.
    ramp_up_steps: length of the ramp; 0 starts at `scale`.

  Returns:
    The weight, float32 [].
  """
  if ramp_up_steps == 0:
    return jnp.float32(scale)
  progress = jnp.minimum(step.astype(jnp.float32) / ramp_up_steps, 1.0)
  return scale * jnp.exp(-5.0 * jnp.square(1.0 - progress))
