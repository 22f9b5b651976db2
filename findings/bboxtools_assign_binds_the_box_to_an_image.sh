#!/usr/bin/env bash
# BboxTools 1.0.4: assign fills the box of an image, and documents that a box without a
# boundary is "temporarily" limited to that of the image. The boundary stays: a box that
# was used for an image of 20 x 20 raises an error for one of 30 x 30, though it lies
# within both. A new box of the same corners fills that one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'BboxTools==1.0.4' 'numpy==2.4.6' 'pillow==13.0.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import BboxTools as bbt
import numpy as np

print('BboxTools', importlib.metadata.version('BboxTools'))
assert 'temporarily' in bbt.Bbox2D.assign.__doc__, 'the documentation has changed'
small, large = np.zeros((20, 20)), np.zeros((30, 30))
box = bbt.Bbox2D([(2, 6), (2, 8)])
print('before:', box)
assert box.apply(small).shape == box.apply(large).shape == (4, 6)
box.assign(small, 1.)
print('after: ', box)
assert small.sum() == 24 and box == bbt.Bbox2D([(2, 6), (2, 8)])
try:
  box.assign(large, 1.)
  error = None
except Exception as raised:  # The package raises the plain class.
  error = str(raised)
print('for an image of 30 x 30:', error)
assert error and 'does not fit image shape' in error, 'the behaviour has changed'
assert large.sum() == 0
bbt.Bbox2D([(2, 6), (2, 8)]).assign(large, 1.)
assert large.sum() == 24
PY
