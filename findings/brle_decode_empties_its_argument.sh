#!/usr/bin/env bash
# brle-python 0.1.0: decode of a run length encoded mask takes the numbers out of the
# array that is given, which is empty afterwards. The first call returns the mask. A
# second one of the same array raises an error, and an array that is decoded, to look at
# the mask, before it is written to a file is written without its runs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'brle-python==0.1.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import brle
import numpy as np

print('brle-python', importlib.metadata.version('brle-python'))
mask = np.zeros((4, 6), np.uint8)
mask[1:3, 2:5] = 1
runs = brle.encode(mask)
print('encoded:', runs)
assert len(runs) == 8
assert (brle.decode(runs) == mask).all()
print('after decode:', runs)
assert len(runs) == 0, 'the behaviour has changed'
try:
  brle.decode(runs)
except ValueError as error:
  print('decoded again:', error)
else:
  raise AssertionError('the behaviour has changed')
PY
