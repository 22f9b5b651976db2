#!/usr/bin/env bash
# MONAI 1.6.1: FillHoles returns the filled labels and fills its argument as
# well, be it an array or a tensor, so that the mask before the step no longer
# exists: the number of filled voxels, taken as the difference of the two, is 0.
# The neighbouring steps KeepLargestConnectedComponent, RemoveSmallObjects,
# LabelFilter and MapLabelValue leave their argument alone. A second FillHoles
# that is confined to another label finds the hole closed already.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir 'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6' \
  'scipy==1.17.1' 'scikit-image==0.26.0'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import monai
from monai import transforms
import numpy as np
import torch

print('monai', monai.__version__)
labels = np.zeros((1, 9, 9, 9), np.uint8)
labels[0, 2:7, 2:7, 2:7] = 1
labels[0, 4, 4, 4] = 0
labels[0, 8, 8, 8] = 2
for step in (
    transforms.FillHoles(), transforms.KeepLargestConnectedComponent(),
    transforms.RemoveSmallObjects(min_size=4), transforms.LabelFilter([1]),
    transforms.MapLabelValue([1, 2], [2, 1])):
  name = type(step).__name__
  for given in (labels.copy(), torch.tensor(labels)):
    seen = step(given)
    changed = int((np.asarray(given) != labels).sum())
    print(f'{name} of {type(given).__name__}: {changed} voxels of the '
          'argument have changed')
    if name == 'FillHoles':
      assert int(seen[0, 4, 4, 4]) == 1
      assert changed == 1, 'the behaviour has changed'
    else:
      assert changed == 0
fresh = transforms.FillHoles(applied_labels=[2])(labels.copy())
assert int(fresh[0, 4, 4, 4]) == 0
print('as stated: FillHoles fills its argument')
PY
