#!/usr/bin/env bash
# umetrix 0.2.0: the localization error, a "positional error for estimating MOTP
# during tracking", is a distance of centres, as MOTP is a mean of distances, but the
# root is left out. A cell moved by 3 pixels has an error of 9, one moved by 3 and 4
# has 25, and of two cells moved by 1 and 3 the mean is 5 in place of 2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: it asks for two packages that it does not import here.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'scikit-image==0.26.0' 'matplotlib==3.11.2' 'numpy==2.4.6'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'umetrix==0.2.0'
cd "$work"
MPLBACKEND=agg "$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import umetrix

print('umetrix', importlib.metadata.version('umetrix'))


def cells(*corners):
  mask = np.zeros((40, 60), 'uint8')
  for row, column in corners:
    mask[row : row + 12, column : column + 12] = 1
  return mask


seen = []
for true, moved in (([(5, 5)], [(5, 6)]), ([(5, 5)], [(5, 8)]), ([(5, 5)], [(8, 9)]),
                    ([(5, 5), (5, 35)], [(5, 6), (5, 38)])):
  distance = float(np.linalg.norm(np.array(true) - moved, axis=1).mean())
  seen.append(float(umetrix.calculate(cells(*true), cells(*moved)).results.localization_error))
  print(f'{len(true)} cells, mean distance of the centres {distance}, localization '
        f'error {seen[-1]}')
assert seen == [1, 9, 25, 5], 'the behaviour has changed'
print('as stated: the error is the mean of the squared distances')
PY
