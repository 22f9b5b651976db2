#!/usr/bin/env bash
# hausdorff 0.2.6: hausdorff_distance takes any numeric dtype, but subtracts
# unsigned coordinates as they are, so that each negative difference wraps
# around. Between two sets of two points each, with coordinates up to 9, the
# Manhattan distance is 8 for signed integers and 3.7e19 for uint16; the
# Chebyshev distance is 6 and 1.8e19. The Euclidean distance is right, because
# the square of a wrapped difference is the right one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'hausdorff==0.2.6' 'numba==0.68.1' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import hausdorff
import numpy as np

print('hausdorff', importlib.metadata.version('hausdorff'))
first, second = np.array([[3, 3], [4, 4]]), np.array([[5, 9], [6, 9]])
seen = {}
for dtype in ('int16', 'uint8', 'uint16'):
  for distance in ('euclidean', 'manhattan', 'chebyshev'):
    seen[dtype, distance] = hausdorff.hausdorff_distance(
        first.astype(dtype), second.astype(dtype), distance)
    print(f'{dtype} {distance}: {seen[dtype, distance]:.5g}')
assert seen['int16', 'manhattan'] == 8 and seen['int16', 'chebyshev'] == 6
assert seen['uint16', 'euclidean'] == seen['int16', 'euclidean']
assert min(seen[dtype, distance] for dtype in ('uint8', 'uint16')
           for distance in ('manhattan', 'chebyshev')) > 1e19, (
               'the behaviour has changed')
print('as stated: the distance of unsigned coordinates is far too large')
PY
