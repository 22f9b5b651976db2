#!/usr/bin/env bash
# numpyradiomics 0.0.5: shape_2d is to match the 2D shape features of PyRadiomics
# strictly. Its MeshSurface adds the areas within all contours, those of holes too,
# where a hole is to be taken away. A square of 10 x 10 pixels has 99.5 and 100 pixels;
# with a hole of 4 x 4 it has 115 for 84 pixels. Cutting a necrotic core out of a lesion
# makes it larger, and with it Sphericity and PerimeterSurfaceRatio are off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpyradiomics==0.0.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'PyWavelets==1.9.0' 'tqdm==4.70.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from numpyradiomics import mod_shape_2d

print('numpyradiomics', importlib.metadata.version('numpyradiomics'))
assert 'strictly matching the PyRadiomics' in mod_shape_2d.shape_2d.__doc__, (
    'the documentation has changed')
square = np.zeros((20, 20), int)
square[5:15, 5:15] = 1
core = np.zeros_like(square)
core[8:12, 8:12] = 1
surface = {}
for title, mask in (('square', square), ('core', core),
                    ('square - core', square - core)):
  found = mod_shape_2d.shape_2d(mask)
  surface[title] = float(found['MeshSurface'])
  print(f'{title:13} MeshSurface {surface[title]:5}  PixelSurface',
        float(found['PixelSurface']))
assert surface['square'] == 99.5 and surface['core'] == 15.5
assert surface['square - core'] == 99.5 + 15.5, 'the behaviour has changed'
print('as stated: the hole is added,', 99.5 + 15.5, 'and not', 99.5 - 15.5)
PY
