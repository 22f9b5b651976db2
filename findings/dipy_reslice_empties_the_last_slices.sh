#!/usr/bin/env bash
# DIPY 1.12.1: reslice from slices of 3 mm to slices of 1 mm keeps the first
# voxel in its place and returns a slice for each mm of the volume: 36 for 12.
# They start at the centre of the first slice, not at its rim, so that the grid
# reaches past the last centre by two slices, and these are filled with 0. Of a
# mask that is 1 everywhere the last two slices come back empty, although the
# first of them lies in the last slice of the input, and a structure at the top
# of the volume is cut. At the other end nothing is lost. The order of the
# interpolation makes no difference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'dipy==1.12.1' 'numpy==2.4.6' 'scipy==1.17.1' 'nibabel==5.4.2'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from dipy.align import reslice
import numpy as np

print('dipy', importlib.metadata.version('dipy'))
mask = np.ones((6, 6, 12), np.uint8)
affine = np.diag([1.0, 1.0, 3.0, 1.0])
for order in (0, 1):
  seen, grid = reslice.reslice(
      mask, affine, (1.0, 1.0, 3.0), (1.0, 1.0, 1.0), order=order)
  assert seen.shape == (6, 6, 36) and np.allclose(grid, np.eye(4))
  full = seen.reshape(36, 36).sum(0).tolist()
  print(f'order {order}: voxels of the mask in each slice: {full}')
  assert full == [36] * 34 + [0, 0], 'the behaviour has changed'
print('centre of slice 34: 34 mm; the mask reaches to 34.5 mm')
print('as stated: the last slices are empty')
PY
