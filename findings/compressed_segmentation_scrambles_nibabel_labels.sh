#!/usr/bin/env bash
# compressed-segmentation 2.3.3 (the codec of Neuroglancer) reads the memory of
# an array by its option 'order' and does not look how the array lies there.
# nibabel returns volumes in Fortran order, so compress() with its default mixes
# up the voxels of a label map of a NIfTI file: same shape, same labels, wrong
# places.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'compressed-segmentation==2.3.3' 'nibabel==5.4.2' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import compressed_segmentation
import nibabel
import numpy as np

labels = np.zeros((8, 16, 24), np.uint32)
labels[2:6, 4:8, 10:20] = 7
nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), 'a.nii')
loaded = np.asarray(nibabel.load('a.nii').dataobj)
assert (loaded == labels).all()


def there_and_back(array):
  return compressed_segmentation.decompress(
      compressed_segmentation.compress(array), array.shape, array.dtype)


print('compressed-segmentation 2.3.3')
right = (there_and_back(labels) == labels).mean()
wrong = there_and_back(loaded)
moved = ((wrong == 7) & (labels != 7)).sum() / (labels == 7).sum()
print(f'array of numpy:  {right:.0%} of the voxels as before')
print(f'array of nibabel: {moved:.0%} of the label is in wrong places')
assert right == 1 and (wrong == 7).sum() == (labels == 7).sum()
assert moved > 0.5, 'the behaviour has changed'
PY
