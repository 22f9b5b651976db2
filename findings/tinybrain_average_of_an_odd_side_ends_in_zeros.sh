#!/usr/bin/env bash
# tinybrain 1.7.0: downsample_with_averaging by (2, 2, 1) of an image whose first
# side is odd adds its last row to the row of averages before, and leaves the
# last row of averages 0. An image of 7 rows with the values 10, 20, ..., 70 gives
# the averages 15, 35, 70 and 0 where 15, 35, 55 and 70 are due, for uint8, uint16
# and float32. An image of 255 x 256 pixels of value 7 gives 128 pixels of value
# 0 beside the 7s. By (2, 2, 2) the result is 15, 35, 55 and 70.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'tinybrain==1.7.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import tinybrain

print('tinybrain', importlib.metadata.version('tinybrain'))
rows = (10 * np.arange(1, 8))[:, None, None].repeat(4, 1).repeat(2, 2)
for dtype in ('uint8', 'uint16', 'float32'):
  flat, = tinybrain.downsample_with_averaging(rows.astype(dtype), (2, 2, 1))
  deep, = tinybrain.downsample_with_averaging(rows.astype(dtype), (2, 2, 2))
  print(dtype, 'by (2, 2, 1):', flat[:, 0, 0].tolist(),
        'by (2, 2, 2):', deep[:, 0, 0].tolist())
  assert deep[:, 0, 0].tolist() == [15, 35, 55, 70]
  assert flat[:, 0, 0].tolist() == [15, 35, 70, 0], 'the behaviour has changed'
constant = np.full((255, 256, 1), 7, 'uint8')
averages, = tinybrain.downsample_with_averaging(constant, (2, 2, 1))
values, counts = np.unique(averages, return_counts=True)
print('255 x 256 pixels of 7: averages', dict(zip(values.tolist(), counts.tolist())))
assert (values.tolist(), counts.tolist()) == ([0, 7], [128, 16256]), (
    'the behaviour has changed')
print('as stated: the last row of averages is 0')
PY
