#!/usr/bin/env bash
# zmesh 1.15.0: close=True closes the meshes that touch the border of the image, which
# are left open otherwise. It also moves every mesh by one voxel along each axis, one in
# the middle of the image too, whose mesh is closed either way: with voxels of 1 x 2 x 3,
# a cuboid whose voxels have their centres at 2 to 7, 6 to 16 and 12 to 18 has a mesh from
# 1.5, 5 and 10.5, half a voxel around them, and with close=True one from 2.5, 7 and 13.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'zmesh==1.15.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import zmesh

print('zmesh', importlib.metadata.version('zmesh'))
labels = np.zeros((12, 12, 12), 'uint32')
labels[2:8, 3:9, 4:7] = 1
spacing = (1, 2, 3)
places = np.argwhere(labels) * spacing
print('centres of the voxels:', places.min(0).tolist(), 'to', places.max(0).tolist())
seen, faces = {}, {}
for close in (False, True):
  mesher = zmesh.Mesher(spacing)
  mesher.mesh(labels, close=close)
  mesh = mesher.get(1, normals=False, reduction_factor=0)
  seen[close] = mesh.vertices.min(0).tolist(), mesh.vertices.max(0).tolist()
  faces[close] = len(mesh.faces)
  print(f'close={close}: vertices {seen[close][0]} to {seen[close][1]}, faces {faces[close]}')
half = np.array(spacing) / 2
assert faces[False] == faces[True]
assert np.array_equal(seen[False], [places.min(0) - half, places.max(0) + half])
assert np.array_equal(np.subtract(seen[True], seen[False]), [spacing, spacing]), (
    'the behaviour has changed')
print('as stated: close=True moves the mesh by one voxel along each axis')
PY
