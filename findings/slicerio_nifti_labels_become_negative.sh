#!/usr/bin/env bash
# slicerio 1.4.0 reads the labels of a NIfTI segmentation as int16 whatever the
# file holds: label 40000 of a uint16 file becomes -25536, and 65536 more than
# another label of an int32 file (instances of cells, parcels of a whole brain)
# becomes that label, so that two structures are one. The same array as
# .seg.nrrd keeps its labels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'slicerio==1.4.0' 'nibabel==5.4.2' 'pynrrd==1.1.3' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import nibabel
import numpy as np
import slicerio

voxels = np.zeros((4, 4, 4), np.int32)
voxels[0], voxels[1], voxels[2] = 1, 40000, 65537
nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), 'a.nii')
assert (np.asarray(nibabel.load('a.nii').dataobj) == voxels).all()
found = slicerio.read_segmentation('a.nii')
labels = [segment['labelValue'] for segment in found['segments']]
counts = [int((found['voxels'] == label).sum()) for label in labels]
print('slicerio 1.4.0')
print('in the file:', {1: 16, 40000: 16, 65537: 16})
print('read:       ', dict(zip(labels, counts)))
assert dict(zip(labels, counts)) == {-25536: 16, 1: 32}, (
    'the behaviour has changed')
PY
