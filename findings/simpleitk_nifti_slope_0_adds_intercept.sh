#!/usr/bin/env bash
# SimpleITK 2.5.7 adds scl_inter to the voxels of a NIfTI file whose scl_slope
# is 0. By the standard (nifti1.h: 'if the scl_slope field is nonzero'), slope 0
# means that the voxels are not scaled at all; nibabel reads them so.
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

image = nibabel.Nifti1Image(np.full((4, 5, 6), 7, np.int16), np.eye(4))
content = bytearray(image.to_bytes())
header = np.frombuffer(content, image.header.structarr.dtype, count=1)
header['scl_slope'], header['scl_inter'] = 0, 5
with open('a.nii', 'wb') as file:
  file.write(content)
with_nibabel = float(nibabel.load('a.nii').get_fdata()[0, 0, 0])
found = float(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage('a.nii'))[0, 0, 0])
print('SimpleITK', SimpleITK.Version.VersionString())
print('stored 7, scl_slope 0, scl_inter 5')
print('nibabel:  ', with_nibabel)
print('SimpleITK:', found)
assert with_nibabel == 7.0
assert found == 12.0, 'the behaviour has changed'
PY
