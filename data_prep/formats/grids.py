"""Brings the labels of a volume to the voxel grid of its image.

Two files may store the same voxels with flipped or exchanged axes (such as RAS
for the labels and LPS for the image); their affines show this. Such labels are
reordered, which loses nothing. Labels that would need interpolation are
refused.
"""

from typing import NamedTuple

import nibabel
import numpy as np

from data_prep.shared import pixels
from data_prep.shared import volume_type


_MAX_OFF = 0.2  # Largest distance from a voxel of the image, in voxels.


class Placed(NamedTuple):
  """The voxels of one volume on the grid of another volume.

  Attributes:
    voxels: the voxels, with the shape and axes of the other volume.
    is_turned: whether the voxels were stored in another order.
  """

  voxels: np.ndarray
  is_turned: bool


def place(
    labels: volume_type.Volume,
    image: volume_type.Volume,
    shown: str,
    *,
    nouns: tuple[str, str] = ('labels', 'their image'),
) -> Placed:
  """Returns the voxels of `labels` in the order of the voxels of `image`.

  A header may give two affines, one for the scanner and one for a template. The
  grids agree if any affine of `labels` agrees with any affine of `image`.

  Args:
    labels: the volume to reorder.
    image: the volume that defines the grid.
    shown: file name of the labels, for messages.
    nouns: names of both volumes, for messages.

  Raises:
    pixels.WrongFile: if the grids differ by more than the order and direction
      of their axes.
  """
  pairs = [(a, b) for b in image.affines or (image.affine,)
           for a in labels.affines or (labels.affine,)]
  if labels.voxels.shape == image.voxels.shape:
    if any(_is_near(a, b) for a, b in pairs):
      return Placed(labels.voxels, False)
  for own, other in pairs:
    turn = _find_turn(own, other)
    if turn is None:
      continue
    turned = nibabel.apply_orientation(labels.voxels, turn)
    affine = own @ nibabel.orientations.inv_ornt_aff(turn, labels.voxels.shape)
    if turned.shape == image.voxels.shape and _is_near(affine, other):
      return Placed(turned, True)
  raise _difference(labels, image, shown, nouns)


def paste(
    labels: volume_type.Volume,
    image: volume_type.Volume,
    shown: str,
) -> Placed:
  """Returns labels of a part of an image, with 0 in the rest of the image.

  Tools that draw segments store only the part of the grid that holds some. The
  part may extend beyond the image where it is 0.

  Args:
    labels: the volume to place; its voxels are an array.
    image: the volume that defines the grid.
    shown: file name of the labels, for messages.

  Raises:
    pixels.WrongFile: if the grids differ by more than the order, direction and
      extent of their axes.
  """
  turn = _find_turn(labels.affine, image.affine)
  if turn is None:
    raise _difference(labels, image, shown, ('labels', 'their image'))
  shape = labels.voxels.shape
  turned = nibabel.apply_orientation(np.asarray(labels.voxels), turn)
  affine = labels.affine @ nibabel.orientations.inv_ornt_aff(turn, shape)
  start = np.linalg.solve(
      image.affine, np.append(affine[:3, 3], 1.0))[:3]
  whole = np.rint(start).astype(int)
  # The far corner tells whether the spacings differ by too much.
  far = np.linalg.solve(
      image.affine, affine @ [*np.array(turned.shape) - 1.0, 1.0])[:3]
  off = np.abs([start - whole, far - whole - np.array(turned.shape) + 1])
  if off.max() > _MAX_OFF:
    raise pixels.WrongFile(
        'labels lie between the voxels of their image',
        f'{shown}: {off.max():.2f} voxels off',
        'resample to the grid of the image by nearest neighbour')
  low = np.clip(whole, 0, image.voxels.shape)
  high = np.clip(whole + turned.shape, low, image.voxels.shape)
  inside = turned[tuple(slice(a - w, b - w) for a, b, w in zip(
      low, high, whole, strict=True))]
  if np.count_nonzero(inside) < np.count_nonzero(turned):
    raise pixels.WrongFile(
        'labels lie outside of their image', shown,
        'pair it with the image that it was drawn on')
  result = np.zeros(image.voxels.shape, turned.dtype)
  result[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = inside
  return Placed(result, not np.array_equal(turn[:, 0], range(3)) or bool(
      (turn[:, 1] < 0).any()))


def _is_near(found, expected):
  """Returns whether two affines are the same except for rounding."""
  spacing = np.linalg.norm(expected[:3, :3], axis=0).max()
  return np.allclose(found, expected, rtol=1e-3, atol=1e-2 * spacing)


def _find_turn(own, other):
  """Returns how to reorder the axes of one grid to match another grid.

  Args:
    own: affine of the grid that is reordered.
    other: affine of the other grid.

  Returns:
    The orientation as nibabel defines it, [3, 2]; None if the axes are not
    parallel or the spacings differ.
  """
  steps = np.linalg.solve(other[:3, :3], own[:3, :3])
  whole = np.rint(steps)
  if np.abs(steps - whole).max() > 1e-2 or np.any(
      np.abs(whole).sum(0) != 1) or np.any(np.abs(whole).sum(1) != 1):
    return None
  axes = np.abs(whole).argmax(0)
  return np.stack([axes, whole[axes, range(3)]], 1)


def _difference(labels, image, shown, nouns):
  """Returns the error that names the difference between two grids."""
  noun, owner = nouns
  text = lambda shape: ' x '.join(map(str, shape))
  fix = (f'resample to the grid of the {owner.split()[-1]} by nearest '
         'neighbour')
  if sorted(labels.voxels.shape) != sorted(image.voxels.shape):
    return pixels.WrongFile(
        f'the size of the {noun} is not that of {owner}, '
        f'{text(image.voxels.shape)}',
        f'{shown}: {text(labels.voxels.shape)}', fix)
  what, found = 'direction', labels.affine[:3, :3]
  for name, own, other in (
      ('spacing', labels.spacing_mm, image.spacing_mm),
      ('origin', labels.affine[:3, 3], image.affine[:3, 3])):
    if not np.allclose(
        own, other, rtol=1e-3, atol=1e-2 * max(image.spacing_mm)):
      what, found = name, own
      break
  return pixels.WrongFile(
      f'the {what} of the {noun} is not that of {owner}',
      f'{shown}: {np.round(np.ravel(found)[:3], 3).tolist()}', fix)
