#!/usr/bin/env bash
# dicom2nifti 2.6.2: with the spline order 3, which its settings name cubic, the
# resampling of a tilted scan takes the grey values for spline coefficients,
# without the filter that makes them so. The image is smoothed instead of
# interpolated: on its own grid, where nothing has to be interpolated, a voxel
# of 900 becomes one of 267. With the orders 0 and 1 it stays 900.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dicom2nifti==2.6.2' 'nibabel==5.4.2' 'numpy==2.4.6' 'scipy==1.17.1' 'pydicom==3.0.2'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from dicom2nifti import resample
from dicom2nifti import settings
import nibabel
import numpy as np

print('dicom2nifti', importlib.metadata.version('dicom2nifti'))
data = np.zeros((9, 9, 9), np.int16)
data[4, 4, 4] = 900
image = nibabel.Nifti1Image(data, np.eye(4))
peaks = {}
for order in (0, 1, 3):
  settings.set_resample_spline_interpolation_order(order)
  result = np.asanyarray(resample.resample_nifti_images([image]).dataobj)
  assert result.shape == data.shape and result.argmax() == data.argmax()
  peaks[order] = int(result.max())
  print(f'order {order}: the voxel of 900 becomes {peaks[order]}')
assert peaks[0] == peaks[1] == 900
assert peaks[3] == 267, 'the behaviour has changed'
print('as stated: order 3 blurs the image')
PY
