#!/usr/bin/env bash
# elasticdeform 0.5.1: deform_grid filters an image for its spline of order 3,
# the default, into an array of the image's own dtype. The coefficients of a
# uint8 image leave 0..255 and are no integers, so that they wrap around: a
# displacement of 0 everywhere, which must return the image, changes its voxels
# by 70 grey values on average, and of a mask of 100 voxels with the value 1 it
# leaves 20. As float32, the same image comes back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'elasticdeform==0.5.1' 'numpy==1.26.4' 'scipy==1.13.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import elasticdeform
import numpy as np

print('elasticdeform', importlib.metadata.version('elasticdeform'))
nothing = np.zeros((2, 3, 3))
image = (np.random.default_rng(0).random((20, 20)) * 255).astype(np.uint8)
mask = np.zeros((20, 20), np.uint8)
mask[5:15, 5:15] = 1
change = {}
for dtype, order in (('float32', 3), ('uint8', 1), ('uint8', 3)):
  result = elasticdeform.deform_grid(image.astype(dtype), nothing, order=order)
  change[dtype, order] = np.abs(result.astype(float) - image).mean()
  print(f'{dtype}, order {order}: mean change of {change[dtype, order]:.2f}')
left = int(elasticdeform.deform_grid(mask, nothing).sum())
print('mask of', mask.sum(), 'voxels: after no displacement', left)
assert change['float32', 3] < 1e-4 and change['uint8', 1] == 0
assert change['uint8', 3] > 50 and left == 20, 'the behaviour has changed'
print('as stated: no displacement changes a uint8 image')
PY
