#!/usr/bin/env bash
# rasterio 1.4.4: features.rasterize burns the number of each polygon into an
# image of the type that is asked for. Numbers that the type cannot hold are no
# error, they become its nearest limit: with 300 nuclei as uint8 the nuclei 255
# to 300 are one label, 255, and with dtype int16 the labels 40000 and 50000 are
# both 32767. One would expect the ValueError that the library raises for types
# that it does not know, or at least a warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'rasterio==1.4.4' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W error - <<'PY'
import importlib.metadata

import numpy as np
from rasterio import features


def square(i):
  x, y = i % 20 * 4, i // 20 * 4
  return dict(type='Polygon', coordinates=[
      [(x, y), (x + 3, y), (x + 3, y + 3), (x, y + 3), (x, y)]])


print('rasterio', importlib.metadata.version('rasterio'))
nuclei = [(square(i), i + 1) for i in range(300)]
for dtype in ('uint16', 'uint8'):
  seen = features.rasterize(nuclei, out_shape=(80, 80), dtype=dtype)
  assert seen.dtype == dtype and (seen > 0).sum() == 300 * 9
  count = len(np.unique(seen)) - 1
  print(f'{dtype}: {count} of 300 nuclei are told apart, '
        f'{(seen == seen.max()).sum() // 9} have the label {seen.max()}')
assert count == 255 and (seen == 255).sum() == 46 * 9, (
    'the behaviour has changed')
seen = features.rasterize(
    [(square(0), 40000), (square(1), 50000)], out_shape=(4, 8), dtype='int16')
print('40000 and 50000 as int16:', np.unique(seen).tolist())
assert np.unique(seen).tolist() == [0, 32767], 'the behaviour has changed'
print('as stated: labels above the limit are merged')
PY
