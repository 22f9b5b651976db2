#!/usr/bin/env bash
# numpyradiomics 0.0.5: shape_2d is to match the 2D shape features of PyRadiomics
# strictly, but takes the contours of the mask as it is, while shape_3d adds a margin.
# At the edge of the image a contour ends, and is closed by a straight line. A square of
# 10 x 10 pixels has a MeshSurface of 99.5 anywhere inside, of 45 in a corner, and of 0
# where it fills the image. Perimeter and Sphericity are off with it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpyradiomics==0.0.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'PyWavelets==1.9.0' 'tqdm==4.70.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from numpyradiomics import mod_shape_2d, mod_shape_3d

print('numpyradiomics', importlib.metadata.version('numpyradiomics'))
square = np.ones((10, 10), int)
surfaces = {}
for title, margin in (('inside', (2, 2)), ('corner', (0, 2)), ('all', (0, 0))):
  found = mod_shape_2d.shape_2d(np.pad(square, margin))
  surfaces[title] = float(found['MeshSurface'])
  print(f'{title:6} MeshSurface {surfaces[title]:5}  PixelSurface',
        float(found['PixelSurface']), ' Perimeter', round(float(found['Perimeter']), 2),
        ' Sphericity', round(float(found['Sphericity']), 3))
assert surfaces == {'inside': 99.5, 'corner': 45, 'all': 0}, 'the behaviour has changed'
cube = np.ones((10, 10, 10), int)
volumes = [float(mod_shape_3d.shape_3d(np.pad(cube, margin))['MeshVolume'])
           for margin in ((2, 2), (0, 2), (0, 0))]
print('shape_3d of a cube:', np.round(volumes, 3))
np.testing.assert_allclose(volumes, volumes[0], rtol=1e-5)
PY
