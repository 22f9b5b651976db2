#!/usr/bin/env bash
# antspyx 0.6.3: threshold_image(labels, 1, 1) selects label 1 of an image, if
# it is of float32. With the same labels as uint8 or uint32, the types in which
# they are stored, the answer is empty, without an error or a warning, although
# label_geometry_measures counts the voxels of the same image right. A mask of
# one class is lost this way, and what is measured of it is 0.
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
labels = np.zeros((14, 12, 10), np.uint8)
labels[3:6, 3:7, 3:6], labels[8:10, 8:11, 3:6] = 1, 2
for dtype in ('float32', 'uint8', 'uint32'):
  image = ants.from_numpy(labels.astype(dtype))
  seen = [int((ants.threshold_image(image, i, i).numpy() > 0).sum())
          for i in (1, 2)]
  table = ants.label_geometry_measures(image)
  right = table.VolumeInVoxels.astype(int).tolist()
  print(f'{dtype}: threshold_image finds {seen} voxels of labels 1 and 2, '
        f'label_geometry_measures {right}')
  assert right == [36, 18]
  if dtype == 'float32':
    assert seen == right
  else:
    assert seen == [0, 0], 'the behaviour has changed'
print('as stated: labels of integers are not found')
PY
