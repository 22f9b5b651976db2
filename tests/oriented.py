"""A volume as files of every orientation store it."""

import itertools

import nibabel

ORIENTATIONS = [
    ''.join(axes) for order in itertools.permutations(('LR', 'PA', 'IS'))
    for axes in itertools.product(*order)]


def stored_as(voxels, affine, orientation):
  """Returns a volume as a file of another orientation stores it."""
  image = nibabel.Nifti1Image(voxels, affine)
  turn = nibabel.orientations.ornt_transform(
      nibabel.io_orientation(affine),
      nibabel.orientations.axcodes2ornt(orientation))
  return image.as_reoriented(turn)
