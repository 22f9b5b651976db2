#!/usr/bin/env bash
# fastmorph 1.10.0: an opening removes what is thin and adds nothing, and a closing fills
# gaps and returns to the size of before. spherical_dilate takes the voxels at the
# radius, and spherical_erode leaves those at the radius, so that the two are not
# opposites. With the default radius of 1 the erosion removes nothing: opening and
# closing are both a dilation, and a cube of 343 voxels becomes one of 637. With radius 2
# it has 493 after either, and with 1.5, which no distance is equal to, 335 and 343.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'fastmorph==1.10.0' 'edt==3.1.2' 'fill-voids==2.1.2' 'connected-components-3d==4.1.1' 'fastremap==1.21.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import fastmorph
import numpy as np

print('fastmorph', importlib.metadata.version('fastmorph'))
cube = np.zeros((20, 20, 20), bool)
cube[5:12, 5:12, 5:12] = True
assert np.array_equal(fastmorph.spherical_open(cube), fastmorph.spherical_open(cube, radius=1))
seen = {}
for radius in (1, 1.5, 2):
  results = {name: getattr(fastmorph, f'spherical_{name}')(cube, radius=radius)
             for name in ('dilate', 'erode', 'open', 'close')}
  seen[radius] = {name: int(result.sum()) for name, result in results.items()}
  added = int((results['open'] & ~cube).sum())
  print(f'radius {radius}, cube of {cube.sum()} voxels: {seen[radius]}, added by open: {added}')
  assert (added == 0) == (radius == 1.5)
assert seen[1.5] == {'dilate': 721, 'erode': 125, 'open': 335, 'close': 343}
assert seen[1] == {'dilate': 637, 'erode': 343, 'open': 637, 'close': 637}, (
    'the behaviour has changed')
assert seen[2] == {'dilate': 1023, 'erode': 125, 'open': 493, 'close': 493}
print('as stated: opening and closing enlarge the cube')
PY
