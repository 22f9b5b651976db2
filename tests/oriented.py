"""Stores a volume in another orientation."""

import itertools

import nibabel

ORIENTATIONS = [
    ''.join(axes) for order in itertools.permutations(('LR', 'PA', 'IS'))
    for axes in itertools.product(*order)]


def stored_as(voxels, affine, orientation):
  """Returns a volume's voxels and affine, reordered to another orientation."""
  image = nibabel.Nifti1Image(voxels, affine)
  turn = nibabel.orientations.ornt_transform(
      nibabel.io_orientation(affine),
      nibabel.orientations.axcodes2ornt(orientation))
  return image.as_reoriented(turn)
