"""Losses of networks that learn from each other or from moving averages."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hybridseg import losses
from hybridseg import masking
from hybridseg import mixing
from hybridseg import types


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
  (https://arxiv.org/abs/2106.01226, eq. 2). With CutMix, `logits` belong to the
  mixed images, while `teacher_logits` are computed on the plain images and then
  mixed (section 3.2 of the paper); the weights are mixed the same way.

  Args:
    logits: scores of the student, float [B, ..., K].
    teacher_logits: scores of the other network on the same pixels, float
      [B, ..., K].
    pixel_weights: trust in the teacher for the image that each pixel comes
      from, float [B, ...]; None stands for 1.

  Returns:
    Loss in nats, float [B]; nan for an instance if any score of its teacher is
    not finite.

  Raises:
    ValueError: if the shapes do not agree.
  """
  if logits.shape != teacher_logits.shape:
    raise ValueError(f'{logits.shape=} differs from {teacher_logits.shape=}.')
  pseudo = jnp.argmax(jax.lax.stop_gradient(teacher_logits), axis=-1)
  logits = masking.widen(logits)
  labels = jax.nn.one_hot(pseudo, logits.shape[-1], dtype=logits.dtype)
  # argmax treats nan as the largest score, which would hide the nan.
  known = jnp.all(jnp.isfinite(teacher_logits), axis=-1, keepdims=True)
  labels = jnp.where(known, labels, jnp.nan)
  if pixel_weights is not None:
    # The cross entropy of a pixel is linear in its target, so weighting the
    # target weights the loss.
    labels = labels * _trust(pixel_weights, labels)[..., None]
  return losses.cross_entropy_loss(logits, labels)


def _trust(pixel_weights, scores):
  """Returns `pixel_weights` without gradient, in the dtype of `scores`."""
  masking.check_pixels(pixel_weights, scores, name='pixel_weights')
  return jax.lax.stop_gradient(pixel_weights).astype(scores.dtype)


def consistency_losses(
    logits: jax.Array,
    teacher_logits: jax.Array,
    *,
    pixel_weights: jax.Array | None = None,
) -> jax.Array:
  """Computes the squared distance between student and teacher probabilities.

  loss_k = mean_p weight_kp * sum_c (softmax(logits)_kpc -
  softmax(teacher_logits)_kpc)^2; no gradient reaches the teacher. Tarvainen and
  Valpola, "Mean teachers are better role models", 2017
  (https://arxiv.org/abs/1703.01780, section 2); the sum over the classes
  follows French et al., 2020 (https://arxiv.org/abs/1906.01916, section 3.1).

  Args:
    logits: scores of the student, float [B, ..., K].
    teacher_logits: scores of the teacher on the same pixels, float [B, ..., K].
    pixel_weights: trust in the teacher for the image that each pixel comes
      from, float [B, ...]; None stands for 1.

  Returns:
    Loss in [0, 2], float [B].

  Raises:
    ValueError: if the shapes do not agree.
  """
  if logits.shape != teacher_logits.shape:
    raise ValueError(f'{logits.shape=} differs from {teacher_logits.shape=}.')
  logits, teacher_logits = map(masking.widen, (logits, teacher_logits))
  teacher = jax.nn.softmax(jax.lax.stop_gradient(teacher_logits))
  distances = jnp.sum(jnp.square(jax.nn.softmax(logits) - teacher), axis=-1)
  if pixel_weights is not None:
    distances = distances * _trust(pixel_weights, teacher)
  return jnp.mean(distances, axis=tuple(range(1, distances.ndim)))


def update_teachers(
    teachers: types.Params,
    params: types.Params,
    *,
    step: jax.Array,
    decay: float,
) -> types.Params:
  """Updates the exponential moving averages of the parameters.

  teacher <- a * teacher + (1 - a) * params, with a = min(decay, 1 - 1 / (step +
  2)), so that the parameters of the first steps are soon forgotten. Tarvainen
  and Valpola, 2017 (https://arxiv.org/abs/1703.01780, eq. 2; the minimum is
  from their code).

  Args:
    teachers: averages before the update, any pytree.
    params: parameters after the update, a pytree of the same structure.
    step: number of updates done before this one, int32 [].
    decay: largest share of the old average that is kept, in [0, 1).

  Returns:
    The averages after the update; each keeps its dtype. A bfloat16 average has
    only three digits and stops moving once its changes are smaller than its
    last digit: keep the averages of bfloat16 parameters in float32.
  """
  kept = jnp.minimum(decay, 1 - 1 / (step + 2))

  def mean(teacher, new):
    old, new = masking.widen(teacher), new.astype(
        masking.wide_dtype(teacher.dtype))
    share = kept.astype(old.dtype)
    return (share * old + (1 - share) * new).astype(teacher.dtype)

  return jax.tree.map(mean, teachers, params)


def taught_value_and_grads(
    apply_fn: Callable[[types.Params, jax.Array], jax.Array],
    params: Sequence[types.Params],
    images: jax.Array,
    teacher_logits: Sequence[jax.Array],
    trusts: jax.Array,
    masks: jax.Array,
    *,
    losses_fn: Callable[..., jax.Array],
    encode_fn: Callable[[jax.Array], Any] = lambda images: images,
) -> tuple[jax.Array, tuple[types.Params, ...]]:
  """Computes the mean loss of two networks with teachers, and its gradients.

  Each network sees the mixed images and learns from the logits of its teacher
  on the plain images, which are mixed the same way. Its loss is `losses_fn`,
  averaged over the batch. In cross pseudo supervision, the teacher of each
  network is the other one.

  Args:
    apply_fn: maps params and images to logits.
    params: the two parameter sets.
    images: plain images, float [B, H, W, C].
    teacher_logits: logits of the teacher of each network on the plain images,
      2 x float [B, H, W, K].
    trusts: trust in the teachers' predictions for each plain image, float [B].
    masks: which pixels are mixed, from `mixing.cutmix_masks` or
      `mixing.no_masks`, bool [B, H, W].
    losses_fn: `cross_pseudo_losses` or `consistency_losses`.
    encode_fn: maps the mixed images to the input of `apply_fn`.

  Returns:
    Mean of the losses of the two networks, float [], and the gradient of each
    network's loss with respect to its own parameters.
  """
  images = encode_fn(mixing.mix_pairs(masks, images))
  pixel_weights = mixing.mix_pairs(masks, trusts)
  teachers = [mixing.mix_pairs(masks, x) for x in teacher_logits]

  def loss(p, teacher):
    return jnp.mean(
        losses_fn(apply_fn(p, images), teacher, pixel_weights=pixel_weights)
    )

  values, grads = zip(*(
      jax.value_and_grad(loss)(p, teacher)
      for p, teacher in zip(params, teachers, strict=True)
  ), strict=True)
  return sum(values) / len(values), grads


def ramp_up(
    step: jax.Array, *, scale: float, ramp_up_steps: int
) -> jax.Array:
  """Returns the factor of the co-regularization loss at a step.

  scale * exp(-5 * (1 - min(step / ramp_up_steps, 1))^2): Laine and Aila,
  "Temporal Ensembling", 2017 (https://arxiv.org/abs/1610.02242, section 3).

  Args:
    step: number of updates done, int32 [].
    scale: final value of the factor.
    ramp_up_steps: length of the ramp in steps; with 0, the factor is `scale`
      from the first step on.

  Returns:
    The factor, float32 [].
  """
  if ramp_up_steps == 0:
    return jnp.float32(scale)
  progress = jnp.minimum(step.astype(jnp.float32) / ramp_up_steps, 1.0)
  return scale * jnp.exp(-5.0 * jnp.square(1.0 - progress))
