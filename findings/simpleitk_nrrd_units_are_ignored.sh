#!/usr/bin/env bash
# SimpleITK 2.5.7 takes the numbers of an NRRD file for mm whatever its 'space
# units' say, without a warning, while it converts the units of a NIfTI file:
# the same volume with voxels of 500 micrometres has spacing 0.5 read from NIfTI
# and 500 from NRRD. Volumes in ml differ by a factor of a thousand million.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'pynrrd==1.1.3' 'nibabel==5.4.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import nibabel
import nrrd
import numpy as np
import SimpleITK

voxels = np.ones((2, 3, 4), np.uint8)
nrrd.write('a.nrrd', voxels, {
    'space': 'left-posterior-superior', 'space units': ['um', 'um', 'um'],
    'space directions': np.eye(3) * 500, 'space origin': [0, 0, 0]})
image = nibabel.Nifti1Image(voxels, np.diag([500, 500, 500, 1]))
image.header.set_xyzt_units('micron')
nibabel.save(image, 'a.nii')
spacing = {name: SimpleITK.ReadImage(name).GetSpacing()
           for name in ('a.nii', 'a.nrrd')}
print('SimpleITK', SimpleITK.Version.VersionString(), spacing)
assert spacing == {'a.nii': (0.5, 0.5, 0.5), 'a.nrrd': (500, 500, 500)}, (
    'the behaviour has changed')
PY
