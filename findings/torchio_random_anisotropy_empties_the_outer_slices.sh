#!/usr/bin/env bash
# TorchIO 1.2.1: RandomAnisotropy makes slices coarser and back again, but what lies
# beyond the centres of the outermost coarse slices may become 0. An image of 100
# throughout has 0 in its first and last slice if 62 slices are made coarser by 4,
# and in three outer slices of 63 by 5. In a CT volume of air, -1000 HU, the outer
# slices become water. A copy of the nearest slice would keep the values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'torchio==1.2.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

import numpy as np
import torch
import torchio

print('torchio', importlib.metadata.version('torchio'))
seen = {}
for size, factor, value in ((60, 4, 100), (62, 4, 100), (63, 5, 100), (62, 4, -1000)):
  image = torchio.ScalarImage(tensor=torch.full((1, 8, size, 8), float(value)))
  made = torchio.RandomAnisotropy(
      axes=1, downsampling=(factor, factor))(image).numpy()
  assert made.shape == (1, 8, size, 8)
  wrong = np.flatnonzero((made != value).any((0, 1, 3)))
  assert (made[:, :, wrong] == 0).all()
  seen[size, factor, value] = wrong.tolist()
  print(f'{size} slices of {value}, coarser by {factor}: 0 in slices {wrong.tolist()}')
assert seen == {
    (60, 4, 100): [], (62, 4, 100): [0, 61], (63, 5, 100): [0, 61, 62],
    (62, 4, -1000): [0, 61]}, 'the behaviour has changed'
print('as stated: outer slices are 0')
PY
