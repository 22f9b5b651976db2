#!/usr/bin/env bash
# SimpleITK 2.5.7 reads nan and infinity in the voxels of a NIfTI file as 0,
# without a warning; the same array as NRRD keeps them. A label map or an image
# with nan for 'outside' or 'unknown' becomes background.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'nibabel==5.4.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import nibabel
import numpy as np
import SimpleITK

voxels = np.full((4, 5, 6), 3, np.float32)
voxels[0], voxels[1], voxels[2] = np.nan, np.inf, -np.inf
nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), 'a.nii.gz')
SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels.T), 'a.nrrd')
read = lambda name: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(name)).T
with_nibabel = np.asarray(nibabel.load('a.nii.gz').dataobj)[:, 0, 0].tolist()
nifti, nrrd = read('a.nii.gz')[:, 0, 0].tolist(), read('a.nrrd')[:, 0, 0].tolist()
print('SimpleITK', SimpleITK.Version.VersionString())
print('written and read by nibabel: ', with_nibabel)
print('read by SimpleITK from NRRD: ', nrrd)
print('read by SimpleITK from NIfTI:', nifti)
assert str(with_nibabel) == str(nrrd) == '[nan, inf, -inf, 3.0]'
assert nifti == [0.0, 0.0, 0.0, 3.0], 'the behaviour has changed'
PY
