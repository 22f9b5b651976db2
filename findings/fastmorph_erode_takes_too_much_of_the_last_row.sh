#!/usr/bin/env bash
# fastmorph 1.10.0: erode removes the voxels that have another value within one step, and
# with erode_border=False what is outside the image is to preserve a voxel. In the last
# row of the first axis it may remove voxels whose neighbours are all of their label: in a
# volume of 7 x 5 x 5 with two holes it removes two voxels, both two steps away from the
# nearer hole. Turned upside down, which changes no neighbour, the volume keeps them.
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
volume = np.ones((7, 5, 5), 'uint8')
holes = [(1, 1, 1), (4, 0, 1)]
for hole in holes:
  volume[hole] = 0
padded = np.pad(volume, 1, constant_values=1)
kept = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3)).min((-1, -2, -3))
eroded = fastmorph.erode(volume, parallel=1, erode_border=False)
flipped = fastmorph.erode(np.ascontiguousarray(volume[::-1]), parallel=1,
                          erode_border=False)[::-1]
wrong = [tuple(place) for place in np.argwhere(eroded != kept).tolist()]
print(f'kept by the definition {kept.sum()}, by erode {eroded.sum()}, by erode of the flipped '
      f'volume {flipped.sum()}')
for place in wrong:
  steps = min(max(abs(a - b) for a, b in zip(place, hole, strict=True)) for hole in holes)
  print(f'removed: {place}, {steps} steps away from the nearest hole')
  assert steps == 2 and volume[place] == 1
assert np.array_equal(flipped, kept) and kept.sum() == 130
assert wrong == [(6, 0, 0), (6, 1, 0)], 'the behaviour has changed'
print('as stated: voxels of the last row are removed without a reason')
PY
