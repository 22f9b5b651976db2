#!/usr/bin/env bash
# evalseg 2.7: HD gives 'max', '95th' and 'avg' of the surface distances of both
# directions, and joins the two by their mean. The Hausdorff distance is the larger one:
# of a cube and the same with a spike of 8 voxels the directed distances are 0 and 8,
# and 'max' is 4.7. The odd 0.7 comes from its distances, which for voxels inside are
# those to the background: the 'max' of a mask with itself is 1 voxel, here 1 and 2 mm.
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
spike = cube.copy()
spike[15, 15, 20:28] = True


def directed(one, other):
  """Returns the largest distance of a voxel of one from the nearest of other."""
  one, other = np.argwhere(one), np.argwhere(other)
  return max(np.linalg.norm(other - voxel, axis=1).min() for voxel in one)


def distance(side, one, other):
  """Returns 'max' for voxels of the given side."""
  hd = metrics.HD()
  hd.set_reference(io.SegmentArray(one, voxelsize=(side,) * 3))
  return float(hd.evaluate(io.SegmentArray(other, voxelsize=(side,) * 3))['max'])


both = [float(directed(cube, spike)), float(directed(spike, cube))]
found = distance(1, cube, spike)
same = distance(1, cube, cube), distance(2, cube, cube)
print('directed distances:', both, "'max':", round(found, 3))
print("'max' of a mask with itself:", same)
assert both == [0, 8]
assert 4.5 < found < 5 and same == (1, 2), 'the behaviour has changed'
PY
