#!/usr/bin/env bash
# platipy 0.7.2: the sigmaSurfaceDistance of compute_surface_metrics, the
# standard deviation of the surface distances, is a root of a sum that nobody
# divides by the number of points. It grows with the size of the picture: of two
# cubes that are 2 mm apart it gives 47 mm for 16 voxels a side and 99 mm for
# 32, while no distance is above 2 mm. A standard deviation is at most half of
# the range of its values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'platipy==0.7.2' 'simpleitk==2.5.7' 'numpy==2.4.6' 'scipy==1.17.1' 'pandas==2.3.3' 'opencv-python==5.0.0.93' 'pydicom==2.4.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from platipy.imaging.label import comparison
import SimpleITK as sitk

print('platipy', importlib.metadata.version('platipy'))
seen = {}
for side in (16, 32):
  one, other = np.zeros((2, side + 12, side + 12, side + 12), np.uint8)
  one[5:-7, 5:-7, 5:-7] = 1
  other[5:-7, 5:-7, 7:-5] = 1
  found = comparison.compute_surface_metrics(
      sitk.GetImageFromArray(one), sitk.GetImageFromArray(other))
  sigma, largest = (
      found[f'{name}SurfaceDistance'] for name in ('sigma', 'maximum'))
  seen[side] = sigma
  print(f'cubes of {side} voxels a side, 2 apart: largest distance',
        f'{largest:.1f}, standard deviation {sigma:.1f}')
  assert largest == 2
  assert sigma > largest, 'the behaviour has changed'
assert 1.9 < seen[32] / seen[16] < 2.2, 'the behaviour has changed'
print('as stated: the standard deviation grows with the number of voxels')
PY
