#!/usr/bin/env bash
# krippendorff 0.9.0: alpha takes the ratings in any numeric dtype, but subtracts
# unsigned ones as they are, so that each negative difference wraps around. Of
# three raters with nine ratings of 1 to 4 each, alpha is 0.7226 for the interval
# level and 0.5895 for the ratio level where the ratings are int64, but 0.4463
# and 0.2738 where the same ratings are uint8. The nominal and the ordinal level
# agree for both dtypes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'krippendorff==0.9.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import krippendorff
import numpy as np

print('krippendorff', importlib.metadata.version('krippendorff'))
ratings = np.array([[1, 2, 3, 3, 2, 1, 4, 1, 2],
                    [1, 2, 3, 4, 2, 2, 4, 1, 2],
                    [2, 3, 3, 3, 2, 3, 4, 2, 2]])
seen = {}
for dtype in ('int64', 'float64', 'uint8', 'uint16'):
  for level in ('nominal', 'ordinal', 'interval', 'ratio'):
    seen[dtype, level] = round(float(krippendorff.alpha(
        ratings.astype(dtype), level_of_measurement=level)), 4)
    print(dtype, level, seen[dtype, level])
# The interval level by the definition: all ratings are present.
units = ratings.T.astype(float)
pairs = lambda v: ((v[:, None] - v[None]) ** 2).sum() / (v.size - 1)
observed = sum(pairs(unit) for unit in units) / units.size
alpha = 1 - observed / (pairs(units.ravel()) / units.size)
assert round(alpha, 4) == seen['int64', 'interval'] == 0.7226
for level in ('nominal', 'ordinal'):
  assert len({seen[dtype, level] for dtype in ('int64', 'uint8', 'uint16')}) == 1
assert seen['float64', 'interval'] == 0.7226 and seen['int64', 'ratio'] == 0.5895
assert (seen['uint8', 'interval'], seen['uint8', 'ratio']) == (0.4463, 0.2738), (
    'the behaviour has changed')
print('as stated: alpha of unsigned ratings differs from that of signed ones')
PY
