#!/usr/bin/env bash
# antspyx 0.6.3: from_numpy takes an array of int16, the usual type of CT, and
# makes an image of unsigned integers of it, without a warning. Air with -1000
# Hounsfield units is 4294966296 from then on: the smallest value of the scan is
# that of the tissue, and the mean is in the billions. int8 and int32 go the
# same way, while the same values as float32 stay as they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'antspyx==0.6.3' 'numpy==2.2.6' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import ants
import numpy as np

warnings.simplefilter('error')
print('antspyx', importlib.metadata.version('antspyx'))
for dtype, air in (
    ('float32', -1000), ('int16', -1000), ('int32', -1000), ('int8', -100)):
  scan = np.full((8, 8, 8), air, dtype)
  scan[2:6, 2:6, 2:6] = 40
  image = ants.from_numpy(scan)
  seen = image.numpy()[0, 0, 0]
  print(f'{dtype}: air of {air} is {seen} of {image.pixeltype}, the smallest '
        f'value is {image.min()}, the mean {image.mean():.0f}')
  if dtype == 'float32':
    assert seen == image.min() == air
  else:
    assert seen == 2**32 + air, 'the behaviour has changed'
    assert image.min() == 40 and image.mean() > 1e9
print('as stated: negative integers become large')
PY
