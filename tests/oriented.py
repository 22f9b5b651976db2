"""Stores a volume in another orientation."""

import itertools

import nibabel

ORIENTATIONS = [
    ''.join(axes) for order in itertools.permutations(('LR', 'PA', 'IS'))
    for axes in itertools.product(*order)]


def stored_as(voxels, affine, orientation):
  """Returns a volume as a file in another orientation would store it."""
  image = nibabel.Nifti1Image(voxels, affine)
  turn = nibabel.orientations.ornt_transform(
      nibabel.io_orientation(affine),
      nibabel.orientations.axcodes2ornt(orientation))
  return image.as_reoriented(turn)
