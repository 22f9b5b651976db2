#!/usr/bin/env bash
# fill-voids 2.1.2: fill is to fill holes, background that cannot be reached from the
# outside, as binary_fill_holes of SciPy. A background voxel at an edge of the volume is
# outside. A volume with one such notch keeps it, wherever it is. Of three notches at the
# edges through the first corner, (0, 0, 1), (0, 3, 0) and (3, 0, 0) of 4 x 4 x 5 voxels,
# the first is filled, and counted as filled. Turned upside down it keeps all three.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'fill-voids==2.1.2' 'fastremap==1.21.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import fill_voids
import numpy as np

print('fill-voids', importlib.metadata.version('fill-voids'))
shape = (4, 4, 5)


def notched(*places):
  volume = np.ones(shape, bool)
  for place in places:
    volume[place] = False
  return volume


edge = [place for place in np.ndindex(shape)
        if any(at in (0, size - 1) for at, size in zip(place, shape, strict=True))]
one = sum(fill_voids.fill(notched(place), return_fill_count=True)[1] for place in edge)
print(f'one notch, at each of {len(edge)} places of the border: filled {one}')
three = notched((0, 0, 1), (0, 3, 0), (3, 0, 0))
result, number = fill_voids.fill(three, return_fill_count=True)
filled = np.argwhere(result & ~three).tolist()
flipped = int(fill_voids.fill(np.ascontiguousarray(three[::-1]), return_fill_count=True)[1])
print(f'three notches: filled {number}, at {filled}; upside down: {flipped}')
assert one == 0 and flipped == 0
assert number == 1 and filled == [[0, 0, 1]], 'the behaviour has changed'
print('as stated: background at the edge of the volume is filled')
PY
