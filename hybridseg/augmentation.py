"""Augments images on the device, and warps their label maps the same way."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from hybridseg import types
from hybridseg import warping


class AugmentationOptions(NamedTuple):
  """The largest size of each random change; 0 or False switches a change off.

  Attributes:
    flip: whether each axis is mirrored, with probability 1/2.
    rotation_deg: largest rotation in either direction, in degrees.
    log2_scale: base-2 logarithm of the largest zoom; the smallest zoom is its
      inverse.
    shift: largest shift in either direction, as a share of the image side.
    brightness: largest additive change, for intensities in [0, 1].
    contrast: largest relative change of the contrast around the image mean.
    log2_gamma: base-2 logarithm of the largest gamma; the smallest gamma is its
      inverse.
    noise: largest standard deviation of additive Gaussian noise, for
      intensities in [0, 1].
    saturation: largest relative change of the differences between the channels
      of a colour image.
    hue_deg: largest rotation of the hue in either direction, in degrees.
    blur: largest standard deviation of a Gaussian blur, in pixels, up to 2.
  """

  flip: bool = True
  rotation_deg: float = 20.0
  log2_scale: float = 0.25
  shift: float = 0.05
  brightness: float = 0.1
  contrast: float = 0.2
  log2_gamma: float = 0.3
  noise: float = 0.02
  saturation: float = 0.0
  hue_deg: float = 0.0
  blur: float = 0.0


def _source_coordinates(key, size, options):
  """Draws a random flip, rotation, zoom and shift for one image.

  Returns:
    The y and x, in pixels, at which the input is read for each output pixel,
    float32 [H, W] each.
  """
  flip_key, angle_key, scale_key, shift_key = jax.random.split(key, 4)
  height, width = size
  uniform = lambda key, bound, shape=(): jax.random.uniform(
      key, shape, jnp.float32, minval=-bound, maxval=bound
  )
  signs = jnp.ones(2, jnp.float32)
  if options.flip:
    signs = jnp.where(jax.random.bernoulli(flip_key, shape=(2,)), -1.0, 1.0)
  angle = jnp.deg2rad(uniform(angle_key, options.rotation_deg))
  scale = 2.0 ** uniform(scale_key, options.log2_scale)
  shift = uniform(shift_key, options.shift, (2,)) * jnp.array(
      [height, width], jnp.float32)
  y, x = jnp.meshgrid(
      jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2,
      jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2,
      indexing='ij',
  )
  cos, sin = jnp.cos(angle) * scale, jnp.sin(angle) * scale
  source_y = signs[0] * (cos * y - sin * x) + shift[0] + (height - 1) / 2
  source_x = signs[1] * (sin * y + cos * x) + shift[1] + (width - 1) / 2
  return source_y, source_x


def _turn_colours(image, gain, angle):
  """Scales the saturation of an RGB image [H, W, 3] and rotates its hue.

  The saturation is multiplied by `gain`. The rotation by `angle`, in radians,
  is about the grey axis (1, 1, 1), so the mean of the channels does not change.
  """
  grey = jnp.mean(image, axis=-1, keepdims=True)
  colour = image - grey
  # The cross product of the grey axis with the colour, orthogonal to both.
  across = (jnp.roll(colour, 1, axis=-1) - jnp.roll(colour, -1, axis=-1)
            ) / jnp.sqrt(3.0)
  return grey + gain * (jnp.cos(angle) * colour + jnp.sin(angle) * across)


def _photometric(key, image, options):
  """Randomly changes colours, sharpness and intensities, and adds noise."""
  (bright_key, contrast_key, gamma_key, level_key, noise_key, gain_key,
   hue_key, blur_key) = jax.random.split(key, 8)
  uniform = lambda key, bound: jax.random.uniform(
      key, (), jnp.float32, minval=-bound, maxval=bound
  )
  if image.shape[-1] == 3 and (options.saturation or options.hue_deg):
    image = _turn_colours(
        image, 1 + uniform(gain_key, options.saturation),
        jnp.deg2rad(uniform(hue_key, options.hue_deg)))
  if options.blur:
    sigma = jnp.abs(uniform(blur_key, options.blur))
    for axis in (0, 1):
      image = warping.blur(image, sigma, axis=axis)
  mean = jnp.mean(image, axis=(0, 1), keepdims=True)
  image = mean + (image - mean) * (1 + uniform(contrast_key, options.contrast))
  image = image + uniform(bright_key, options.brightness)
  # The lower bound keeps the derivative of the power finite at black.
  image = jnp.clip(image, 1e-4, 1.0)
  image = image ** (2.0 ** uniform(gamma_key, options.log2_gamma))
  level = jnp.abs(uniform(level_key, options.noise))
  image = image + level * jax.random.normal(
      noise_key, image.shape, jnp.float32)
  return jnp.clip(image, 0.0, 1.0)


def to_float(image: jax.Array) -> jax.Array:
  """Converts stored intensities to float32 in [0, 1].

  uint8 intensities are divided by 255. Floats are assumed to lie in [0, 1]
  already and keep their values.

  Args:
    image: uint8 or float, of any shape.

  Returns:
    float32, of the same shape.

  Raises:
    ValueError: if the intensities have another type, because their range is
      then unknown.
  """
  if jnp.issubdtype(image.dtype, jnp.floating):
    return image.astype(jnp.float32)
  if image.dtype != jnp.uint8:
    raise ValueError(
        f'Images are {image.dtype}, whose range is unknown: make them uint8, '
        'or float in [0, 1].')
  return image.astype(jnp.float32) / 255.0


def augment(
    keys: jax.Array,
    examples: types.Examples,
    *,
    options: AugmentationOptions,
) -> types.Examples:
  """Augments images and label maps together, with one key per instance.

  Both are flipped, then rotated, zoomed and shifted about the centre of the
  image. The image is sampled bilinearly, and its edge is repeated where a
  pixel comes from outside. The label map is sampled at the nearest pixel, and
  is `types.UNLABELLED` where a pixel comes from outside. Colour, blur,
  intensity and noise change only in the image.

  Args:
    keys: one key per instance, [B].
    examples: stored examples, images [B, H, W, C] of uint8 or of float in
      [0, 1].
    options: largest size of each change.

  Returns:
    Examples with float32 images in [0, 1] and uint8 label maps.

  Raises:
    ValueError: if the label maps are not pictures, [B, H, W].
  """
  if examples.label.ndim != 3:
    raise ValueError(
        f'{examples.label.shape=}: these are not pictures; for volumes, use '
        'volume_augmentation.augment_volumes.')

  def one(key, image, label):
    geometry_key, photo_key = jax.random.split(key)
    source = _source_coordinates(geometry_key, label.shape, options)
    image = _photometric(photo_key, warping.warp_image(image, source), options)
    return image, warping.warp_label(label, source)

  image, label = jax.vmap(one)(keys, to_float(examples.image), examples.label)
  return examples._replace(image=image, label=label)
