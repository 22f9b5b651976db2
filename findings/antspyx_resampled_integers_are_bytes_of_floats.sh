#!/usr/bin/env bash
# antspyx 0.6.3: resample_image_to_target moves an image to the grid of another.
# With an image of integers, as labels are, it computes in float32 and reads the
# memory of the result as integers. Labels 0, 1, 2 and 3 on their own grid, with
# nearestNeighbor or genericLabel, should stay as they are. As uint32 they come
# back as 0, 1065353216, 1073741824 and 1077936128, which are the bits of 1.0,
# 2.0 and 3.0, and as uint8 as single bytes of these. As float32 they are right.
# No error or warning is raised.
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
labels = np.zeros((10, 12, 8), np.uint8)
labels[2:5, 3:7, 2:5], labels[7:9, 8:11, 2:5], labels[0, 0, 0] = 1, 2, 3
bits = np.arange(4, dtype=np.float32).view(np.uint32).tolist()
for name in ('nearestNeighbor', 'genericLabel'):
  for dtype in ('float32', 'uint32', 'uint8'):
    image = ants.from_numpy(labels.astype(dtype))
    seen = ants.resample_image_to_target(
        image, image.clone(), interp_type=name).numpy()
    wrong = int((seen != labels).sum())
    print(f'{name}, {dtype}: {np.unique(seen).tolist()}, {wrong} '
          f'voxels are wrong, {(labels > 0).sum()} have a label')
    if dtype == 'float32':
      assert wrong == 0
    elif dtype == 'uint32':
      assert np.unique(seen).tolist() == bits, 'the behaviour has changed'
    else:
      assert wrong >= 55, 'the behaviour has changed'
print('as stated: integers come back as the bits of floats')
PY
