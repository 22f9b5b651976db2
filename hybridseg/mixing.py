"""Mixes the images of a batch by random masks, as in CutMix."""

import jax
import jax.numpy as jnp


def cutmix_masks(
    keys: jax.Array,
    size: tuple[int, int],
    *,
    min_area: float = 0.1,
    max_area: float = 0.5,
) -> jax.Array:
  """Draws one random rectangle for each pair of neighbouring images.

  The area is uniform in [min_area, max_area] of the image, the log of the
  aspect ratio is uniform in [-log 2, log 2], and the position is uniform among
  those inside the image. French et al., "Semi-supervised semantic segmentation
  needs strong, varied perturbations", 2020 (https://arxiv.org/abs/1906.01916,
  section 3.2).

  Args:
    keys: one key per instance, [B] with B even; the first key of each pair is
      used.
    size: height and width in pixels.
    min_area: smallest share of the image that a rectangle covers.
    max_area: largest share of the image that a rectangle covers.

  Returns:
    True where the partner's pixel is pasted, bool [B, H, W].

  Raises:
    ValueError: if B is odd.
  """
  if keys.shape[0] % 2:
    raise ValueError(f'CutMix pairs neighbours: {keys.shape[0]=} must be even.')

  draw = lambda key, low, high: jax.random.uniform(
      key, (), jnp.float32, minval=low, maxval=high)

  def one_mask(key):
    area_key, ratio_key, y_key, x_key = jax.random.split(key, 4)
    area = draw(area_key, min_area, max_area)
    log_ratio = draw(ratio_key, -1.0, 1.0)
    ratio = 2.0**log_ratio
    # A side longer than the image is clipped, at the cost of some area.
    height = jnp.minimum(jnp.sqrt(area * ratio), 1.0)
    width = jnp.minimum(jnp.sqrt(area / ratio), 1.0)
    top = draw(y_key, 0.0, 1.0) * (1 - height)
    left = draw(x_key, 0.0, 1.0) * (1 - width)
    rows = (jnp.arange(size[0], dtype=jnp.float32) + 0.5) / size[0]
    columns = (jnp.arange(size[1], dtype=jnp.float32) + 0.5) / size[1]
    in_rows = (rows >= top) & (rows < top + height)
    in_columns = (columns >= left) & (columns < left + width)
    return in_rows[:, None] & in_columns[None, :]

  return jnp.repeat(jax.vmap(one_mask)(keys[::2]), 2, axis=0)


def no_masks(keys: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Returns masks that leave all images unmixed: all False, bool [B, H, W]."""
  return jnp.zeros((*keys.shape, *size), bool)


def swap_pairs(x: jax.Array) -> jax.Array:
  """Swaps neighbours along the leading axis: [0, 1, 2, 3] -> [1, 0, 3, 2]."""
  pairs = x.reshape((x.shape[0] // 2, 2) + x.shape[1:])
  return pairs[:, ::-1].reshape(x.shape)


def mix_pairs(masks: jax.Array, x: jax.Array) -> jax.Array:
  """Pastes the pixels of each image's neighbour where `masks` is True.

  The images of a pair are neighbours in the batch, so that a shard of even size
  mixes only within itself. The result does not depend on the number of devices.

  Args:
    masks: bool [B, H, W].
    x: images or logits, [B, H, W, ...], or one value per instance, [B].

  Returns:
    The mixed array, [B, H, W, ...]. If `x` has one value per instance, each
    pixel gets the value of the instance that it comes from, [B, H, W].
  """
  if x.ndim == 1:
    x = jnp.broadcast_to(x[:, None, None], masks.shape)
  masks = masks.reshape(masks.shape + (1,) * (x.ndim - masks.ndim))
  return jnp.where(masks, swap_pairs(x), x)
