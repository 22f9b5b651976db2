#!/usr/bin/env bash
# crackle-codec 0.55.0 compresses an array of four axes (say, the layers of a
# segmentation with overlaps) without an error and keeps the first three axes
# only, at index 0 of the last. The loss shows only when the file is read again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'crackle-codec==0.55.0' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import crackle
import numpy as np

layers = np.arange(120, dtype=np.uint16).reshape(3, 4, 5, 2)
again = crackle.decompress(crackle.compress(layers))
print('crackle-codec 0.55.0')
print('compressed:  ', layers.shape, np.unique(layers).size, 'labels')
print('decompressed:', again.shape, np.unique(again).size, 'labels')
assert again.shape == (3, 4, 5) and (again == layers[..., 0]).all(), (
    'the behaviour has changed')
PY
