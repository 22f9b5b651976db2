#!/usr/bin/env bash
# antspyx 0.6.3: multi_label_morphology(labels, 'MD', 1) is documented to dilate
# the labels and to preserve the regions that they had. It adds the dilated
# label 1 onto the old one, so that every voxel that had label 1 has label 2
# afterwards and only the new rim has label 1. If there is a label 2, the two
# are merged. The closing 'MC' does the same. Other labels are not changed in
# this way.
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
labels = np.zeros((16, 16, 16), np.float32)
labels[3:6, 3:6, 3:6], labels[10:13, 10:13, 10:13] = 1, 5
image = ants.from_numpy(labels)
for operation in ('MD', 'MC'):
  seen = ants.multi_label_morphology(image, operation, 1).numpy()
  inside = {i: np.unique(seen[labels == i]).tolist() for i in (1, 5)}
  rim = np.unique(seen[(labels == 0) & (seen > 0)]).tolist()
  print(f'{operation}: where label 1 was {inside[1]}, where label 5 was '
        f'{inside[5]}, new voxels {rim}')
  assert inside[5] == [5]
  assert inside[1] == [2], 'the behaviour has changed'
  assert rim == ([1, 5] if operation == 'MD' else [])
print('as stated: label 1 becomes label 2')
PY
