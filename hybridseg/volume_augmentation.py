"""Augments volumes on the device, and warps their label maps the same way.

`augmentation` does the same for pictures. Lengths are in mm here, because the
slices of a volume are often farther apart than the pixels within a slice.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hybridseg import augmentation
from hybridseg import types
from hybridseg import warping

# nnU-Net treats an axis apart if it is coarser than others by this factor.
_MAX_RATIO = 3.0


class VolumeAugmentationOptions(NamedTuple):
  """The largest size of each random change; 0 or False switches a change off.

  Attributes:
    flip: for each axis, D, H and W, whether it is mirrored, with probability
      1/2. Left and right organs are different classes only if the axis from
      left to right is not mirrored.
    rotation_deg: largest rotation about each axis, in either direction, in
      degrees.
    log2_scale: base-2 logarithm of the largest zoom; the smallest zoom is its
      inverse.
    shift: largest shift along each axis in either direction, as a share of the
      side of the volume.
    brightness: largest additive change, for intensities in [0, 1].
    contrast: largest relative change of the contrast around the volume's mean.
    log2_gamma: base-2 logarithm of the largest gamma; the smallest gamma is its
      inverse.
    noise: largest standard deviation of additive Gaussian noise, for
      intensities in [0, 1].
    blur: largest standard deviation of a Gaussian blur, in voxels of the finest
      axis, up to 2.
    log2_low_resolution: base-2 logarithm of the largest factor by which voxels
      are made coarser, see `augment_volumes`.
  """

  flip: tuple[bool, bool, bool] = (True, True, True)
  rotation_deg: float = 20.0
  log2_scale: float = 0.25
  shift: float = 0.05
  brightness: float = 0.1
  contrast: float = 0.2
  log2_gamma: float = 0.3
  noise: float = 0.02
  blur: float = 0.0
  log2_low_resolution: float = 0.0


def augment_volumes(
    keys: jax.Array,
    examples: types.Examples,
    *,
    options: VolumeAugmentationOptions,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
) -> types.Examples:
  """Augments volumes and label maps together, with one key per instance.

  Both are mirrored, then rotated about the three axes, zoomed and shifted about
  the centre of the volume, in mm. The volume is interpolated once, trilinearly,
  and its edge is repeated where a voxel comes from outside. The label map is
  sampled at the nearest voxel of the same positions, and is
  `types.UNLABELLED` where a voxel comes from outside. Blur, resolution,
  intensity and noise change only in the volume.

  If one axis is more than three times as coarse as the finest one, nothing is
  interpolated along it: volumes are rotated about this axis only, and zoomed,
  shifted and made coarser along the two others. They are still mirrored along
  all axes. If two axes are that coarse, volumes are neither rotated nor
  zoomed. Isensee et al., 2021 (nnU-Net,
  https://doi.org/10.1038/s41592-020-01008-z) use the same limit.

  A lower resolution is simulated by reading the nearest voxels of a grid that
  is coarser by a random factor, and by interpolating linearly between them.

  Args:
    keys: one key per instance, [B].
    examples: stored examples, images [B, D, H, W, C] of uint8 or of float in
      [0, 1], and labels [B, D, H, W].
    options: largest size of each change.
    spacing: size of a voxel along D, H and W, in mm.

  Returns:
    Examples with float32 images in [0, 1] and uint8 label maps. Without any
    change, the intensities are those of the input, bit for bit.

  Raises:
    ValueError: if the label maps are not volumes, if the images do not fit
      them, or if `spacing` is not three positive numbers.
  """
  images = augmentation.to_float(examples.image)
  if examples.label.ndim != 4 or images.shape[:-1] != examples.label.shape:
    raise ValueError(
        f'{images.shape=} and {examples.label.shape=} are not volumes '
        '[B, D, H, W, C] and [B, D, H, W].')
  if len(spacing) != 3 or not all(0 < s < math.inf for s in spacing):
    raise ValueError(f'{spacing=}: use three positive numbers, in mm.')
  spacing_mm = np.asarray(spacing, np.float64)
  is_fine = spacing_mm <= _MAX_RATIO * spacing_mm.min()

  def one(key, image, label):
    geometry_key, photo_key = jax.random.split(key)
    matrix, offset = _random_affine(
        geometry_key, label.shape, options, spacing_mm, is_fine)
    source = _source_coordinates(matrix, offset, label.shape)
    image = warping.warp_image(image, source)
    return (_photometric(photo_key, image, options, spacing_mm, is_fine),
            warping.warp_label(label, source))

  image, label = jax.vmap(one)(keys, images, examples.label)
  return examples._replace(image=image, label=label)


def _uniform(key, bound, shape=()):
  return jax.random.uniform(
      key, shape, jnp.float32, minval=-bound, maxval=bound)


def _random_affine(key, size, options, spacing, is_fine):
  """Draws a random flip, rotation, zoom and shift for one volume.

  Returns:
    Matrix and offset that map a position relative to the centre of the output
    to one relative to the centre of the input, both in voxels: float32 [3, 3]
    and [3].
  """
  flip_key, angle_key, scale_key, shift_key = jax.random.split(key, 4)
  # A rotation about an axis turns the plane of the two others.
  turns = [is_fine[(a + 1) % 3] and is_fine[(a + 2) % 3] for a in range(3)]
  bound = jnp.asarray(turns, jnp.float32) * options.rotation_deg
  angles = jnp.deg2rad(bound * _uniform(angle_key, 1.0, (3,)))
  # A zoom must keep the proportions, so that it needs at least a fine plane.
  zooms = is_fine if is_fine.sum() > 1 else np.zeros(3, bool)
  scale = 2.0 ** (jnp.asarray(zooms, jnp.float32)
                  * _uniform(scale_key, options.log2_scale))
  reach = jnp.asarray(np.array(size) * is_fine * options.shift, jnp.float32)
  flips = jax.random.bernoulli(flip_key, shape=(3,)) & jnp.asarray(options.flip)
  signs = jnp.where(flips, -1.0, 1.0)
  # From voxels to mm and back: the ratios are exactly 1 on the diagonal.
  ratio = jnp.asarray(spacing[None, :] / spacing[:, None], jnp.float32)
  matrix = (signs * scale)[:, None] * _rotation(angles) * ratio
  return matrix, reach * _uniform(shift_key, 1.0, (3,))


def _rotation(angles):
  """Returns the rotation about D, then H, then W, float32 [3, 3]."""
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  matrix = jnp.eye(3, dtype=jnp.float32)
  for axis in range(3):
    a, b = (axis + 1) % 3, (axis + 2) % 3
    row_a = cos[axis] * matrix[a] - sin[axis] * matrix[b]
    row_b = sin[axis] * matrix[a] + cos[axis] * matrix[b]
    matrix = matrix.at[a].set(row_a).at[b].set(row_b)
  return matrix


def _source_coordinates(matrix, offset, size):
  """Returns the positions read for each output voxel, 3 x float32 [D, H, W]."""
  centre = [(n - 1) / 2 for n in size]
  grid = jnp.meshgrid(*(
      jnp.arange(n, dtype=jnp.float32) - c
      for n, c in zip(size, centre, strict=True)), indexing='ij')
  # Sums instead of a product of matrices, which some devices round to bfloat16.
  return [
      sum(m * g for m, g in zip(row, grid, strict=True)) + o + c
      for row, o, c in zip(matrix, offset, centre, strict=True)]


def _photometric(key, image, options, spacing, is_fine):
  """Randomly changes sharpness and intensities, and adds noise."""
  (bright_key, contrast_key, gamma_key, level_key, noise_key, blur_key,
   coarse_key) = jax.random.split(key, 7)
  if options.blur:
    sigma = jnp.abs(_uniform(blur_key, options.blur))
    for axis, share in enumerate(spacing.min() / spacing):
      image = warping.blur(image, sigma * float(share), axis=axis)
  if options.log2_low_resolution:
    factor = 2.0 ** jnp.abs(_uniform(coarse_key, options.log2_low_resolution))
    for axis in np.flatnonzero(is_fine):
      image = _coarsen(image, factor, int(axis))
  if options.contrast:
    mean = jnp.mean(image, axis=(0, 1, 2), keepdims=True)
    image = mean + (image - mean) * (
        1 + _uniform(contrast_key, options.contrast))
  if options.brightness:
    image = image + _uniform(bright_key, options.brightness)
  if options.log2_gamma:
    # The lower bound keeps the derivative of the power finite at black.
    image = jnp.clip(image, 1e-4, 1.0)
    image = image ** (2.0 ** _uniform(gamma_key, options.log2_gamma))
  if options.noise:
    level = jnp.abs(_uniform(level_key, options.noise))
    image = image + level * jax.random.normal(
        noise_key, image.shape, jnp.float32)
  return jnp.clip(image, 0.0, 1.0)


def _take(image, index, axis):
  """Reads slices of a volume along an axis, repeating its edge."""
  return jnp.take(
      image, jnp.clip(index, 0, image.shape[axis] - 1), axis, mode='clip')


def _coarsen(image, factor, axis):
  """Interpolates an axis linearly between voxels `factor` apart."""
  position = jnp.arange(image.shape[axis], dtype=jnp.float32)
  position = (position + 0.5) / factor - 0.5  # In coarse voxels.
  low = jnp.floor(position)
  nearest = lambda coarse: jnp.round(
      (coarse + 0.5) * factor - 0.5).astype(jnp.int32)
  shape = [1] * image.ndim
  shape[axis] = -1
  share = (position - low).reshape(shape)
  return (1 - share) * _take(image, nearest(low), axis) + share * _take(
      image, nearest(low + 1), axis)
