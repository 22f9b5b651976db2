#!/usr/bin/env bash
# roi2bb 0.1.0 turns box markups of 3D Slicer into YOLO lines for a NIfTI image, whose
# affine it reads. It takes the origin of the affine, but the directions of its axes for
# left, anterior, superior. A box at 30 % of the x axis of an image in RAS, as templates
# are, has its centre at -30 %, and one at 59 % of the y axis of an image in LPS, as
# Slicer saves a CT, at -59 %: outside of the image, and nothing is told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'roi2bb==0.1.0' 'nibabel==5.4.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
import os

import nibabel as nib
import numpy as np
from roi2bb import converter

print('roi2bb', importlib.metadata.version('roi2bb'))
centre = np.array([30., 40, 50])  # Right, anterior, superior.
os.mkdir('markups')
with open('markups/liver.json', 'w') as file:
  json.dump({'markups': [{
      'type': 'ROI', 'coordinateSystem': 'LPS', 'size': [10, 20, 30],
      'center': (centre * [-1, -1, 1]).tolist()}]}, file)
found = {}
for name, signs in (('LAS', [-1, 1, 1]), ('RAS', [1, 1, 1]), ('LPS', [-1, -1, 1])):
  affine = np.diag(signs + [1.])
  affine[:3, 3] = np.where(np.array(signs) < 0, 99, 0)
  assert ''.join(nib.aff2axcodes(affine)) == name
  image = nib.Nifti1Image(np.zeros((100, 100, 100), np.uint8), affine)
  nib.save(image, 'image.nii')
  converter.Converter('image.nii', 'markups', 'out/boxes.txt').run()
  with open('out/boxes.txt') as file:
    z, x, y = map(float, file.read().split()[1:4])
  voxel = nib.affines.apply_affine(np.linalg.inv(affine), centre)
  found[name] = [x, y, z], (voxel / 100).tolist()
  print(name, 'written:', np.round(found[name][0], 2),
        'true:', np.round(found[name][1], 2))
np.testing.assert_allclose(*found['LAS'])
np.testing.assert_allclose(found['RAS'][0], found['RAS'][1] * np.array([-1, 1, 1]))
np.testing.assert_allclose(found['LPS'][0], found['LPS'][1] * np.array([1, -1, 1]))
print('as stated: right for LAS alone')
PY
