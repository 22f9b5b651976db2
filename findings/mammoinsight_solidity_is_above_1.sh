#!/usr/bin/env bash
# mammoinsight-math 0.1.1: convex_hull_features gives the 'solidity', the area of a mask
# over the area of its convex hull, which is 1 where there is no notch and less otherwise.
# It counts whole pixels for the mask, and lays the hull through their centres, half a pixel
# inside. A square of 10 x 10 pixels has a solidity of 1.235, one of 4 x 4 has 1.778, where
# regionprops, which the function uses for the area, has 1. So a small mask with a real
# notch passes for one without.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'mammoinsight-math==0.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import importlib.util

import numpy as np
from skimage import measure


# The import of the whole package needs scikit-learn, requests and pandas, which it does not
# declare; the one module does not.
def load(name):
  place = importlib.metadata.distribution('mammoinsight-math').locate_file(f'mammo_math/{name}.py')
  spec = importlib.util.spec_from_file_location('module', place)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


print('mammoinsight-math', importlib.metadata.version('mammoinsight-math'))
features = load('features/advanced_features')
assert 'A_original / A_hull' in features.convex_hull_features.__doc__, (
    'the documentation has changed')
found = {}
for side in (4, 10, 40):
  mask = np.zeros((60, 60), np.uint8)
  mask[10:10 + side, 10:10 + side] = 1
  if side == 10:
    notched = mask.copy()
    notched[10:14, 14:18] = 0
  right, = measure.regionprops(mask)
  found[side] = features.convex_hull_features(mask)['solidity']
  print(f'square of {side} x {side}: solidity {found[side]:.3f}, of scikit-image {right.solidity}')
  assert right.solidity == 1
found['notched'] = features.convex_hull_features(notched)['solidity']
right, = measure.regionprops(notched)
print(f'10 x 10 with a notch of 16 pixels: {found["notched"]:.3f}, of scikit-image {right.solidity}')
assert right.solidity < 0.9 and found['notched'] > 1
assert abs(found[10] - 100 / 81) < 1e-6 and abs(found[4] - 16 / 9) < 1e-6, (
    'the behaviour has changed')
print('as stated: the solidity exceeds 1')
PY
