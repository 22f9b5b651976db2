#!/usr/bin/env bash
# bwskel-3d 0.1.3 replicates MATLAB's bwskel, whose MinBranchLength prunes branches that
# are shorter. With any length, what has neither a fork nor an end is pruned, too: of a
# ring beside a T, all 40 voxels of the ring are gone at a length of 3, and all of the T
# is kept, whose branch of 7 voxels is longer. A ring that is alone in the volume stays
# whatever the length is, so that one vessel decides about the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'bwskel-3d==0.1.3' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import bwskel
import numpy as np

print('bwskel-3d', importlib.metadata.version('bwskel-3d'))
row, column = np.mgrid[:40, :40]
distance = np.hypot(row - 10, column - 10)
ring, fork = np.zeros((2, 40, 40, 9), bool)
ring[..., 4] = (distance > 6) & (distance < 8)
fork[30, 5:35, 4] = fork[22:30, 20, 4] = True


def count(volume, length):
  """Returns the voxels of the skeleton within the ring and within the fork."""
  skeleton = bwskel.BWSkeleton3D(volume, length).compute_skeleton() > 0
  return [int((skeleton & part).sum()) for part in (ring, fork)]


for length in (0, 3, 10):
  print(f'length {length:2}: alone', count(ring, length)[0], 'and',
        count(fork, length)[1], ' together', count(ring | fork, length))
assert count(ring, 0) == count(ring, 3) == count(ring, 10) == [40, 0]
assert count(ring | fork, 0) == [40, 37]
assert count(ring | fork, 3) == [0, 37], 'the behaviour has changed'
PY
