"""Losses that are made for one kind of weak annotation, such as boxes or tags.

As in `losses`, logits are float [B, ..., K], targets are one-hot of the same
shape, `where` is bool [B, ...], results are float [B], and a pixel that does
not count may hold nan. All axes but the first and the last are spatial, so the
losses work in 2-D and 3-D.

The label map of a box is the filled box, with 0 outside. It does not
distinguish the boxes of one class, so their objects count together.
"""

import jax
import jax.numpy as jnp

from hybridseg import losses as losses_lib
from hybridseg import masking
from hybridseg import types


def outside_cross_entropy_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Computes the cross entropy of the background outside of all boxes.

  loss_k = mean of -log q_p0 over the pixels p with label 0, q = softmax. This
  is the emptiness constraint of Kervadec et al., "Bounding boxes for weakly
  supervised segmentation", 2020 (https://arxiv.org/abs/2004.06816, eq. 1), with
  the cross entropy as its penalty.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss in nats, float [B]; 0 if no counted pixel is outside of the boxes.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  outside = masking.where_or_all(where, logits) & (labels[..., 0] > 0)
  return losses_lib.cross_entropy_loss(logits, labels, where=outside)


def tightness_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    width: int = 1,
) -> jax.Array:
  """Penalises bands across a box that hold too little of the object.

  An object touches all sides of its tight box. If it is connected, each band of
  `width` lines (planes in 3-D) across the box holds at least `width` pixels of
  it. The bands of all foreground classes c and of all axes are averaged
  together. With n_b pixels of label c in band b,

    loss_k = mean over bands with n_b > 0 of
      max(0, 1 - sum_{p in b, y_p = c} q_pc / min(width, n_b))^2.

  Kervadec et al., 2020 (https://arxiv.org/abs/2004.06816, eq. 2), with a
  squared hinge instead of the barrier in the paper. Objects of one class that
  share a line count as one.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    width: number of lines in a band.

  Returns:
    Loss in [0, 1], float [B]; 0 without a foreground label.

  Raises:
    ValueError: if the shapes do not agree, or if `width` is not positive.
  """
  masking.check_labels(logits, labels)
  if width < 1:
    raise ValueError(f'{width=} is not positive.')
  where = masking.where_or_all(where, logits)
  boxes = jnp.where(where[..., None], masking.widen(labels), 0)[..., 1:]
  inside = masking.probabilities(logits, where)[..., 1:] * boxes
  hinges, are_crossed = [], []
  for axis in masking.space(logits):
    others = tuple(a for a in masking.space(logits) if a != axis)
    held, most = (_bands(jnp.sum(x, others), width) for x in (inside, boxes))
    is_crossed = most > 0
    least = jnp.where(is_crossed, jnp.minimum(most, width), 1)
    hinge = jnp.square(jnp.maximum(1 - held / least, 0))
    hinges.append(hinge.reshape(hinge.shape[0], -1))
    are_crossed.append(is_crossed.reshape(hinge.shape[0], -1))
  return masking.mean(
      jnp.concatenate(hinges, axis=1), jnp.concatenate(are_crossed, axis=1), 1)


def _bands(lines, width):
  """Sums neighbouring lines, [B, N, C] -> [B, ceil(N / width), C]."""
  batch, num, classes = lines.shape
  lines = jnp.pad(lines, ((0, 0), (0, -num % width), (0, 0)))
  return jnp.sum(lines.reshape(batch, -1, width, classes), axis=2)


def projection_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    epsilon: float = 1e-5,
) -> jax.Array:
  """Compares the projections of the prediction with those of the boxes.

  loss_k = mean over present foreground classes c and axes a of
    1 - (2 sum_i m_i l_i + epsilon) / (sum_i m_i^2 + sum_i l_i^2 + epsilon),

  where m is the maximum of q_c over all spatial axes except a, q = softmax, and
  l is the same maximum of the labels of class c. Tian et al., "BoxInst", 2021
  (https://arxiv.org/abs/2012.02310, eq. 2 and 3).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    epsilon: number added to numerator and denominator.

  Returns:
    Loss in [0, 1], float [B]; 0 without a foreground label.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  masking.check_labels(logits, labels)
  where = masking.where_or_all(where, logits)
  boxes = jnp.where(where[..., None], masking.widen(labels), 0)[..., 1:]
  probs = masking.probabilities(logits, where)[..., 1:]
  present = jnp.any(boxes > 0, masking.space(logits))
  values = []
  for axis in masking.space(logits):
    others = tuple(a for a in masking.space(logits) if a != axis)
    shadow, expected = (jnp.max(x, others) for x in (probs, boxes))
    overlap = jnp.sum(shadow * expected, axis=1)
    size = jnp.sum(jnp.square(shadow) + jnp.square(expected), axis=1)
    values.append(1 - (2 * overlap + epsilon) / (size + epsilon))
  return masking.mean(jnp.mean(jnp.stack(values), axis=0), present, -1)


def box_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Returns `outside_cross_entropy_loss` + `projection_loss`.

  The sum puts no constraint on a single pixel inside a box. The boxes must be
  tight and upright, so images must not be rotated.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.

  Returns:
    Loss, float [B].

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  return outside_cross_entropy_loss(
      logits, labels, where=where
  ) + projection_loss(logits, labels, where=where)


def soft_edge_cross_entropy_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    radius: int = 2,
) -> jax.Array:
  """Computes the cross entropy with targets that are blurred at outlines.

  The target of a pixel is the mean label of the counted pixels that are at most
  `radius` away along each axis. Near a hand-drawn outline, the classes of both
  sides are possible; farther away from it, the label is more certain. This is
  label smoothing (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567,
  section 7) that depends on the position.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels that count, bool [B, ...]; None counts all of them.
    radius: radius of the blur, in pixels.

  Returns:
    Loss in nats, float [B]; 0 for an instance without a counted pixel.

  Raises:
    ValueError: if the shapes do not agree, or if `radius` is negative.
  """
  masking.check_labels(logits, labels)
  if radius < 0:
    raise ValueError(f'{radius=} is negative.')
  where = masking.where_or_all(where, logits)
  window = (1,) + (2 * radius + 1,) * (logits.ndim - 2) + (1,)
  blur = lambda x: jax.lax.reduce_window(
      x, 0.0, jax.lax.add, window, (1,) * x.ndim, 'SAME')
  labels = masking.widen(labels)
  weights = where[..., None].astype(labels.dtype)
  soft = blur(labels * weights) / jnp.maximum(blur(weights), 1)
  return losses_lib.cross_entropy_loss(logits, soft, where=where)


def tag_loss(
    logits: jax.Array,
    present: jax.Array,
    *,
    where: jax.Array | None = None,
    sharpness: float = 4.0,
) -> jax.Array:
  """Computes the cross entropy of the presence of each class in an image.

  A class that the tag names must be somewhere in the image, and a class that it
  excludes must be nowhere. With the log odds s_pc = log q_pc - log(1 - q_pc)
  and n counted pixels, the presence of class c has the log odds

    S_c = (1 / r) log((1 / n) sum_p exp(r s_pc)),  r = sharpness,

  which is a smooth maximum: Pinheiro and Collobert, 2015
  (https://arxiv.org/abs/1411.6228, eq. 4). The loss is the mean binary cross
  entropy of S_c over the foreground classes whose presence is known.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    present: 1 present, 0 absent, `types.UNLABELLED` unknown; uint8 [B, K]. Any
      other value makes the loss nan.
    where: pixels that count, bool [B, ...]; None counts all of them.
    sharpness: r; a larger value comes closer to the maximum.

  Returns:
    Loss in nats, float [B]; 0 for an instance without a tag or a counted pixel.

  Raises:
    ValueError: if the shapes do not agree.
  """
  masking.check_label_map(present, name='present')
  num_classes = logits.shape[-1]
  if present.shape != (logits.shape[0], num_classes):
    raise ValueError(
        f'{present.shape=} is not {(logits.shape[0], num_classes)}.')
  where = masking.where_or_all(where, logits)
  logits = jnp.where(where[..., None], masking.widen(logits), 0)
  space = masking.space(logits)
  count = jnp.sum(where, space, dtype=jnp.int32).astype(logits.dtype)
  values = []
  for c in range(1, num_classes):
    others = jnp.concatenate([logits[..., :c], logits[..., c + 1 :]], axis=-1)
    odds = logits[..., c] - jax.nn.logsumexp(others, axis=-1)
    # Use a finite number: the gradient of logsumexp is nan if all are -inf.
    odds = jnp.where(where, sharpness * odds, -1e30)
    total = jax.nn.logsumexp(odds, axis=space)
    score = (total - jnp.log(jnp.maximum(count, 1))) / sharpness
    tag = present[:, c]
    # The sign of an unknown class has no effect, because the mean below leaves
    # the class out. But it must be finite to keep nan out of the gradients.
    is_other = (tag == 0) | (tag == types.UNLABELLED)
    sign = jnp.where(tag == 1, 1.0, jnp.where(is_other, -1.0, jnp.nan))
    values.append(jax.nn.softplus(-sign * score))
  known = (present[:, 1:] != types.UNLABELLED) & (count > 0)[:, None]
  return masking.mean(jnp.stack(values, axis=-1), known, -1)
