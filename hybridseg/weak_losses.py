"""Losses that use each weak annotation for what it is.

As in `losses`: logits are float [B, ..., K], targets one-hot of the same shape,
`where` bool [B, ...], results float [B], and a pixel left out may hold nan. All
but the first axis and the last are space: 2-D and 3-D alike.

The label map of a box is the filled box, 0 outside. It holds no identity of
boxes: objects of one class count together.
"""

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import losses as losses_lib
from hybridseg import types


def _space(logits):
  return tuple(range(1, logits.ndim - 1))


def _all_if_none(where, logits):
  if where is None:
    return jnp.ones(logits.shape[:-1], bool)
  if where.shape != logits.shape[:-1]:
    raise ValueError(f'{where.shape=} differs from {logits.shape[:-1]=}.')
  return where


def _check(logits, labels):
  if logits.shape != labels.shape:
    raise ValueError(f'{logits.shape=} differs from {labels.shape=}.')


def _check_images(logits, images):
  if images.shape[:-1] != logits.shape[:-1]:
    raise ValueError(f'{images.shape[:-1]=} differs from {logits.shape[:-1]=}.')


def _probs(logits, where):
  """Softmax, 0 at pixels left out; the first mask keeps nan out of slopes."""
  where = where[..., None]
  return jnp.where(where, jax.nn.softmax(jnp.where(where, logits, 0), -1), 0)


def _mean(values, counts, axes):
  """Mean of what counts, 0 if nothing does."""
  total = jnp.sum(jnp.where(counts, values, 0), axes)
  return total / jnp.maximum(jnp.sum(counts, axes), 1)


def outside_cross_entropy_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Computes the cross entropy of the background outside of all boxes.

  loss_k = mean over pixels p with label 0 of -log q_p0, q = softmax: the
  emptiness constraint of Kervadec et al., "Bounding boxes for weakly supervised
  segmentation", 2020 (https://arxiv.org/abs/2004.06816, eq. 1), with the cross
  entropy as its penalty.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.

  Returns:
    Loss in nats, float [B]; 0 if nothing is outside.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  _check(logits, labels)
  outside = _all_if_none(where, logits) & (labels[..., 0] > 0)
  return losses_lib.cross_entropy_loss(logits, labels, where=outside)


def tightness_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
    width: int = 1,
) -> jax.Array:
  """Penalises bands across a box that hold too little of the object.

  A tight box is touched on all sides, so that each band of `width` lines
  (planes in 3-D) across it holds at least `width` pixels of a connected object.
  Per foreground class c and axis, with n_b labelled pixels of c in band b,

    loss_k = mean over bands with n_b > 0 of
      max(0, 1 - sum_{p in b, y_p = c} q_pc / min(width, n_b))^2.

  Kervadec et al., 2020 (https://arxiv.org/abs/2004.06816, eq. 2), with a
  squared hinge for their barrier. Objects of one class that share a line count
  as one.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.
    width: number of lines of a band.

  Returns:
    Loss in [0, 1], float [B]; 0 without a foreground label.

  Raises:
    ValueError: if shapes do not agree, or `width` is not positive.
  """
  _check(logits, labels)
  if width < 1:
    raise ValueError(f'{width=} is not positive.')
  where = _all_if_none(where, logits)
  boxes = jnp.where(where[..., None], labels, 0)[..., 1:]
  inside = _probs(logits, where)[..., 1:] * boxes
  total = num_bands = 0
  for axis in _space(logits):
    others = tuple(a for a in _space(logits) if a != axis)
    held, most = (_bands(jnp.sum(x, others), width) for x in (inside, boxes))
    is_crossed = most > 0
    least = jnp.where(is_crossed, jnp.minimum(most, width), 1)
    hinge = jnp.square(jnp.maximum(1 - held / least, 0))
    total += jnp.sum(jnp.where(is_crossed, hinge, 0), axis=(1, 2))
    num_bands += jnp.sum(is_crossed, axis=(1, 2))
  return total / jnp.maximum(num_bands, 1)


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
  """Compares the shadows of the prediction with those of the boxes.

  loss_k = mean over present foreground classes c and axes a of
    1 - (2 sum_i m_i l_i + epsilon) / (sum_i m_i^2 + sum_i l_i^2 + epsilon),

  m = max over all other axes of q_c and l = the same of the labels. Tian et
  al., "BoxInst", 2021 (https://arxiv.org/abs/2012.02310, eq. 2 and 3).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.
    epsilon: added above and below the ratio.

  Returns:
    Loss in [0, 1], float [B]; 0 without a foreground label.

  Raises:
    ValueError: if the shapes of `logits`, `labels`, `where` do not agree.
  """
  _check(logits, labels)
  where = _all_if_none(where, logits)
  boxes = jnp.where(where[..., None], labels, 0)[..., 1:]
  probs = _probs(logits, where)[..., 1:]
  present = jnp.any(boxes > 0, _space(logits))
  values = []
  for axis in _space(logits):
    others = tuple(a for a in _space(logits) if a != axis)
    shadow, expected = (jnp.max(x, others) for x in (probs, boxes))
    overlap = jnp.sum(shadow * expected, axis=1)
    size = jnp.sum(jnp.square(shadow) + jnp.square(expected), axis=1)
    values.append(1 - (2 * overlap + epsilon) / (size + epsilon))
  return _mean(sum(values) / len(values), present, -1)


def box_loss(
    logits: jax.Array,
    labels: jax.Array,
    *,
    where: jax.Array | None = None,
) -> jax.Array:
  """Returns `outside_cross_entropy_loss` + `projection_loss`.

  It asks nothing of a pixel inside a box by itself, and so suits boxes that are
  tight and upright: images must not be rotated.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.

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
  """Computes the cross entropy with targets that are blurred at the outline.

  The target of a pixel is the mean label of the counted pixels at most `radius`
  away along each axis: near a hand-drawn outline both classes are possible, and
  the farther inside, the surer. Label smoothing (Szegedy et al., 2016,
  https://arxiv.org/abs/1512.00567, section 7) by place.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    labels: one-hot targets, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.
    radius: of the blur, in pixels.

  Returns:
    Loss in nats, float [B]; 0 for an instance without any scored pixel.

  Raises:
    ValueError: if shapes do not agree, or `radius` is negative.
  """
  _check(logits, labels)
  if radius < 0:
    raise ValueError(f'{radius=} is negative.')
  where = _all_if_none(where, logits)
  window = (1,) + (2 * radius + 1,) * (logits.ndim - 2) + (1,)
  blur = lambda x: jax.lax.reduce_window(
      x, 0.0, jax.lax.add, window, (1,) * x.ndim, 'SAME')
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
  """Asks each tagged class to be somewhere, each untagged one to be nowhere.

  With the log odds s_pc = log q_pc - log(1 - q_pc) and n counted pixels, the
  presence of class c has the log odds

    S_c = (1 / r) log((1 / n) sum_p exp(r s_pc)),  r = sharpness,

  a smooth maximum: Pinheiro and Collobert, 2015
  (https://arxiv.org/abs/1411.6228, eq. 4). The loss is the mean binary cross
  entropy of S_c over the foreground classes that the tag knows.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    present: 1 present, 0 absent, `types.UNLABELLED` unknown; uint8 [B, K].
    where: pixels to score, bool [B, ...]; None scores all of them.
    sharpness: r; the larger, the closer to the maximum.

  Returns:
    Loss in nats, float [B]; 0 for an instance without tag or scored pixel.

  Raises:
    ValueError: if shapes do not agree.
  """
  num_classes = logits.shape[-1]
  if present.shape != (logits.shape[0], num_classes):
    raise ValueError(
        f'{present.shape=} is not {(logits.shape[0], num_classes)}.')
  where = _all_if_none(where, logits)
  logits = jnp.where(where[..., None], logits, 0)
  space = _space(logits)
  count = jnp.sum(where, space)
  values = []
  for c in range(1, num_classes):
    others = jnp.concatenate([logits[..., :c], logits[..., c + 1 :]], axis=-1)
    odds = logits[..., c] - jax.nn.logsumexp(others, axis=-1)
    # A finite floor: the slope of logsumexp at -inf alone is nan.
    odds = jnp.where(where, sharpness * odds, -1e30)
    total = jax.nn.logsumexp(odds, axis=space)
    score = (total - jnp.log(jnp.maximum(count, 1))) / sharpness
    sign = jnp.where(present[:, c] == 1, 1.0, -1.0)
    values.append(jax.nn.softplus(-sign * score))
  known = (present[:, 1:] != types.UNLABELLED) & (count > 0)[:, None]
  return _mean(jnp.stack(values, axis=-1), known, -1)


def entropy_loss(
    logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
  """Computes the mean entropy of the prediction.

  loss_k = mean_p -sum_c q_pc log q_pc. Grandvalet and Bengio, "Semi-supervised
  Learning by Entropy Minimization", 2004, eq. 6.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.

  Returns:
    Loss in nats, float [B]; 0 for an instance without any scored pixel.

  Raises:
    ValueError: if the shapes of `logits` and `where` do not agree.
  """
  where = _all_if_none(where, logits)
  log_probs = jax.nn.log_softmax(jnp.where(where[..., None], logits, 0), -1)
  entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, axis=-1)
  return _mean(entropy, where, _space(logits))


def total_variation_loss(
    logits: jax.Array, *, where: jax.Array | None = None
) -> jax.Array:
  """Computes the mean change of the prediction between neighbours.

  loss_k = mean over pairs (p, p') next to each other along an axis, both
  counted, of sum_c |q_pc - q_p'c| / 2: the length of the outlines. Rudin, Osher
  and Fatemi, 1992 (anisotropic).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    where: pixels to score, bool [B, ...]; None scores all of them.

  Returns:
    Loss in [0, 1], float [B]; 0 without a counted pair.

  Raises:
    ValueError: if the shapes of `logits` and `where` do not agree.
  """
  where = _all_if_none(where, logits)
  probs = _probs(logits, where)
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
  """Asks neighbours of like intensity for like classes.

  loss_k = mean over pairs (p, p') at most `radius` apart along each axis, both
  counted, of kernel_pp' (1 - sum_c q_pc q_p'c), with

  kernel = exp(-|p - p'|^2 / (2 sigma_xy^2) - |I_p - I_p'|^2 / (2 sigma_rgb^2)).

  Obukhov et al., "Gated CRF Loss for Weakly Supervised Semantic Image
  Segmentation", 2019 (https://arxiv.org/abs/1906.04651, eq. 5), with `where` as
  the gate of both pixels and a mean in place of their sum.

  Args:
    logits: unnormalised scores, float [B, ..., K].
    images: intensities in [0, 1], float [B, ..., C].
    where: pixels to score, bool [B, ...]; None scores all of them.
    radius: of the neighbourhood, in pixels.
    sigma_xy: in pixels.
    sigma_rgb: of the intensities, summed over the channels.

  Returns:
    Loss in [0, 1], float [B]; 0 without a counted pair.

  Raises:
    ValueError: if the shapes of `logits`, `images`, `where` do not agree.
  """
  _check_images(logits, images)
  where = _all_if_none(where, logits)
  probs = _probs(logits, where)
  images = jnp.where(where[..., None], images, 0)
  reach = range(-radius, radius + 1)
  terms = []
  for offset in itertools.product(reach, repeat=logits.ndim - 2):
    if offset <= (0,) * len(offset):
      continue  # Each pair once.
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
  """Asks for classes of even intensity and short outlines.

  loss_k = mean_p sum_c q_pc |I_p - mu_c|^2 + tv_scale * total variation, with
  mu_c = sum_p q_pc I_p / sum_p q_pc and the square averaged over channels. Kim
  and Ye, "Mumford-Shah Loss Functional for Image Segmentation with Deep
  Learning", 2019 (https://arxiv.org/abs/1904.02872, eq. 5).

  Args:
    logits: unnormalised scores, float [B, ..., K].
    images: intensities in [0, 1], float [B, ..., C].
    where: pixels to score, bool [B, ...]; None scores all of them.
    tv_scale: weight of `total_variation_loss`.

  Returns:
    Loss, float [B]; 0 for an instance without any scored pixel.

  Raises:
    ValueError: if the shapes of `logits`, `images`, `where` do not agree.
  """
  _check_images(logits, images)
  where = _all_if_none(where, logits)
  probs = _probs(logits, where)[..., None, :]
  images = jnp.where(where[..., None], images, 0)[..., None]
  space = _space(logits)
  size = jnp.sum(probs, space, keepdims=True)
  mean = jnp.sum(probs * images, space, keepdims=True) / jnp.maximum(size, 1e-6)
  spread = jnp.mean(jnp.sum(probs * jnp.square(images - mean), -1), axis=-1)
  return _mean(spread, where, space) + tv_scale * total_variation_loss(
      logits, where=where
  )


def _pair(x, offset):
  """Returns x without its end, and x moved by `offset`, of the same shape."""
  low = [slice(max(-o, 0), n - max(o, 0))
         for o, n in zip(offset, x.shape[1:], strict=False)]
  high = [slice(max(o, 0), n - max(-o, 0))
          for o, n in zip(offset, x.shape[1:], strict=False)]
  return x[:, *low], x[:, *high]


def _both(where, offset):
  one, other = _pair(where, offset)
  return one & other


def _mean_over_pairs(terms):
  """Averages (values, counts) of several directions over all that count."""
  space = tuple(range(1, terms[0][0].ndim))
  total = sum(jnp.sum(jnp.where(ok, v, 0), space) for v, ok in terms)
  return total / jnp.maximum(sum(jnp.sum(ok, space) for _, ok in terms), 1)


class Annotation(NamedTuple):
  """What a term of `by_kind` may look at.

  Attributes:
    labels: one-hot targets, float [B, ..., K].
    where: labelled pixels, bool [B, ...].
    present: of a tag, see `tag_loss`, uint8 [B, K].
    images: intensities in [0, 1], float [B, ..., C].
  """

  labels: jax.Array
  where: jax.Array
  present: jax.Array
  images: jax.Array


Term = Callable[[jax.Array, Annotation], jax.Array]


def of_labels(loss_fn: Callable[..., jax.Array]) -> Term:
  """Makes a term of a loss of the labelled pixels."""
  return lambda logits, a: loss_fn(logits, a.labels, where=a.where)


def of_tags(loss_fn: Callable[..., jax.Array]) -> Term:
  """Makes a term of a loss of the image tag."""
  return lambda logits, a: loss_fn(logits, a.present)


def of_pixels(loss_fn: Callable[..., jax.Array]) -> Term:
  """Makes a term of a regulariser of all pixels, labelled or not."""
  return lambda logits, a: loss_fn(logits)


def of_images(loss_fn: Callable[..., jax.Array]) -> Term:
  """Makes a term of a regulariser that looks at the image, at all pixels."""
  return lambda logits, a: loss_fn(logits, a.images)


def by_kind(
    table: Mapping[types.AnnotationKind, Sequence[tuple[float, Term]]],
    *,
    default: Sequence[tuple[float, Term]] = (),
) -> Callable[..., jax.Array]:
  """Returns a loss that sums, for each instance, the terms of its kind.

  loss_k = sum_t table[kind_k][t] * term_t(logits_k). Every term is computed
  once for the whole batch and then chosen by a table, so that one compiled
  program serves any mixture of kinds.

  Args:
    table: kind -> pairs of factor and term.
    default: of the kinds that are not in the table.

  Returns:
    loss(logits, labels, *, where, kind, present, images) -> float [B], with
    `kind` int [B]: see `train_step.Supervision.by_kind`.

  Raises:
    ValueError: if there is no term at all, or a key is no annotation kind.
  """
  factors = np.zeros((max(types.AnnotationKind) + 1, 0), np.float32)
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
    chosen = jnp.asarray(factors)[kind]  # [B, T]
    total = jnp.zeros(logits.shape[0], jnp.float32)
    for factor, term in zip(chosen.T, terms, strict=True):
      used = factor != 0
      # 0 * nan is nan, in a slope too: an unused term sees harmless logits.
      space = (slice(None),) + (None,) * (logits.ndim - 1)
      values = term(jnp.where(used[space], logits, 0), annotation)
      total += jnp.where(used, factor * values, 0)
    return total

  return loss
