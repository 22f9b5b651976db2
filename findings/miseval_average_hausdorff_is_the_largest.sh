#!/usr/bin/env bash
# miseval 1.3.0: the 'Average Hausdorff Distance' (AHD) of its table, advised for
# contours, is the largest distance and no average. One stray pixel beside an
# otherwise exact mask of 36 pixels makes it 11.3, where the average over all
# boundary pixels is 0.28. It cannot be compared with published averages.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'miseval==1.3.0' 'hausdorff==0.2.6' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import miseval
import numpy as np

truth = np.zeros((20, 20), int)
truth[2:8, 2:8] = 1
found = truth.copy()
found[15, 15] = 1
distance = miseval.evaluate(truth, found, metric='AHD')
largest = np.hypot(15 - 7, 15 - 7)
print('miseval 1.3.0')
print('AHD of a mask and itself with a stray pixel:', distance)
print('largest distance:', largest, 'average:', round(largest / 41, 2))
assert np.isclose(distance, largest), 'the behaviour has changed'
PY
