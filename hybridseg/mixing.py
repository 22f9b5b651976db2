"""Mixes the images of a batch by random masks, as in CutMix."""

import jax
import jax.numpy as jnp


def cutmix_masks(
    keys: jax.Array,
    size: tuple[int, ...],
    *,
    min_area: float = 0.1,
    max_area: float = 0.5,
) -> jax.Array:
  """Draws one random rectangle or box for each pair of neighbouring images.

  The area is uniform in [min_area, max_area] of the image, the log of the
  aspect ratio is uniform in [-log 2, log 2], and the position is uniform among
  those inside the image. In a volume, it is the share s of the volume that is
  uniform, and side a of the box is s^(1/3) 2^(u_a - mean u) of the volume's
  side, with u_a uniform in [-1/2, 1/2]. French et al., "Semi-supervised
  semantic segmentation needs strong, varied perturbations", 2020
  (https://arxiv.org/abs/1906.01916, section 3.2).

  Args:
    keys: one key per instance, [B] with B even; the first key of each pair is
      used.
    size: height and width of images, or depth, height and width of volumes.
    min_area: smallest share of the image or volume that is covered.
    max_area: largest share of the image or volume that is covered.

  Returns:
    True where the partner's pixel is pasted, bool [B, H, W] or [B, D, H, W].

  Raises:
    ValueError: if B is odd.
  """
  if keys.shape[0] % 2:
    raise ValueError(f'CutMix pairs neighbours: {keys.shape[0]=} must be even.')

  draw = lambda key, low, high: jax.random.uniform(
      key, (), jnp.float32, minval=low, maxval=high)

  def one_mask(key):
    share_key, ratio_key, *place_keys = jax.random.split(key, 2 + len(size))
    share = draw(share_key, min_area, max_area)
    # A side longer than the image is clipped, at the cost of some area.
    sides = [jnp.minimum(side, 1.0)
             for side in _sides(share, ratio_key, len(size))]
    mask = jnp.ones(size, bool)
    for axis, side in enumerate(sides):
      start = draw(place_keys[axis], 0.0, 1.0) * (1 - side)
      middle = (jnp.arange(size[axis], dtype=jnp.float32) + 0.5) / size[axis]
      inside = (middle >= start) & (middle < start + side)
      shape = [1] * len(size)
      shape[axis] = -1
      mask &= inside.reshape(shape)
    return mask

  return jnp.repeat(jax.vmap(one_mask)(keys[::2]), 2, axis=0)


def _sides(share, key, num_axes):
  """Draws sides of a box that covers a share of the image or volume."""
  uniform = lambda shape, bound: jax.random.uniform(
      key, shape, jnp.float32, minval=-bound, maxval=bound)
  if num_axes == 2:
    ratio = 2.0 ** uniform((), 1.0)
    return [jnp.sqrt(share * ratio), jnp.sqrt(share / ratio)]
  logs = uniform((num_axes,), 0.5)
  return list(share ** (1 / num_axes) * 2.0 ** (logs - jnp.mean(logs)))


def no_masks(keys: jax.Array, size: tuple[int, ...]) -> jax.Array:
  """Returns masks that leave all images unmixed: all False, bool [B, *size]."""
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
    masks: bool [B, H, W], or [B, D, H, W] for volumes.
    x: images or logits, of the shape of `masks` and maybe further axes, or one
      value per instance, [B].

  Returns:
    The mixed array, of the shape of `x`. If `x` has one value per instance,
    each pixel gets the value of the instance that it comes from, and the result
    has the shape of `masks`.
  """
  if x.ndim == 1:
    x = jnp.broadcast_to(
        x.reshape(-1, *[1] * (masks.ndim - 1)), masks.shape)
  masks = masks.reshape(masks.shape + (1,) * (x.ndim - masks.ndim))
  return jnp.where(masks, swap_pairs(x), x)
