#!/usr/bin/env bash
# antspyx 0.6.3: iMath(mask, 'GetLargestComponent') keeps the largest connected
# component of a mask, if it has 50 voxels or more. If it has 49, the answer is
# 1 in every voxel of the image, background included, without an error or a
# warning. One would expect the component, or an empty mask. A small lesion, or
# a small structure in a coarse scan, is the whole volume after this step. With
# a smallest size of 1 as a third argument the component is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-compile 'antspyx==0.6.3' 'numpy==2.2.6' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import ants
import numpy as np

warnings.simplefilter('error')
print('antspyx', importlib.metadata.version('antspyx'))
seen = {}
for size in (50, 49):
  mask = np.zeros((20, 20, 10), np.float32)
  lesion = np.zeros((5, 5, 2), np.float32)
  lesion.ravel()[:size] = 1
  mask[3:8, 3:8, 3:5] = lesion
  mask[14:16, 14:16, 5] = 1
  image = ants.from_numpy(mask)
  seen[size] = int(ants.iMath(image, 'GetLargestComponent').numpy().sum())
  given = int(ants.iMath(image, 'GetLargestComponent', 1).numpy().sum())
  print(f'largest component of {size} voxels, mask of {int(mask.sum())}: '
        f'{seen[size]} voxels, with a smallest size of 1: {given}')
  assert given == size
assert seen[50] == 50
assert seen[49] == 20 * 20 * 10, 'the behaviour has changed'
print('as stated: the small component becomes the whole image')
PY
