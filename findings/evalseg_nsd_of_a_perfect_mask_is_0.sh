#!/usr/bin/env bash
# evalseg 2.7: NSD is the normalized surface Dice, with a tolerance tau of 1 mm unless
# told otherwise. The surface is the outermost voxels of a mask, which have the distance
# of one voxel from it, since it is measured to the background, and a distance below tau
# is asked for. So the NSD of a mask with itself is 0 at the default for voxels of 1 mm,
# and 0 up to a tau of 2 for voxels of 2 mm. It should be 1 for every tau.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'evalseg==2.7' 'memory-profiler==0.61.0' 'numpy==1.26.4' 'scipy==1.11.4' 'pandas==2.2.3' 'scikit-image==0.22.0' 'opencv-python==4.10.0.84' 'edt==2.4.1' 'connected-components-3d==3.17.0' 'matplotlib==3.9.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from evalseg import io, metrics

print('evalseg', importlib.metadata.version('evalseg'))
cube = np.zeros((40, 40, 40), bool)
cube[10:20, 10:20, 10:20] = True
scores = {}
for side in (1, 2):
  mask = io.SegmentArray(cube, voxelsize=(side,) * 3)
  for tau in (1, 2, 3):
    nsd = metrics.NSD(tau=tau)
    nsd.set_reference(mask)
    scores[side, tau] = float(nsd.evaluate(mask))
    print(f'voxels of {side} mm, tau {tau}: NSD with itself', scores[side, tau])
nsd = metrics.NSD()
nsd.set_reference(io.SegmentArray(cube))
assert nsd.tau == 1 and nsd.evaluate(io.SegmentArray(cube)) == 0, (
    'the behaviour has changed')
assert [scores[1, tau] for tau in (1, 2, 3)] == [0, 1, 1]
assert [scores[2, tau] for tau in (1, 2, 3)] == [0, 0, 1]
PY
