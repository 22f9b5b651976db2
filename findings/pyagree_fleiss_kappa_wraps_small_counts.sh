#!/usr/bin/env bash
# pyagree 0.0.4: fleiss_kappa squares the counts in their own dtype. A matrix of
# uint8, which holds the counts of up to 255 raters, wraps from 16 raters on: of
# six subjects and 20 raters kappa is 0.6566 as int64 and -0.1985 as uint8.
# With 15 raters both agree.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pyagree==0.0.4' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import pyagree

print('pyagree', importlib.metadata.version('pyagree'))
of_20 = np.array([[20, 0, 0], [16, 4, 0], [0, 20, 0], [2, 2, 16], [10, 5, 5], [0, 0, 20]])
of_15 = np.array([[15, 0, 0], [12, 3, 0], [0, 15, 0], [1, 2, 12], [9, 3, 3], [0, 0, 15]])
seen = {}
for raters, counts in ((15, of_15), (20, of_20)):
  assert set(counts.sum(1)) == {raters}
  for dtype in ('int64', 'uint8'):
    seen[raters, dtype] = round(float(pyagree.fleiss_kappa(counts.astype(dtype))), 4)
    print(f'{raters} raters, {dtype}: {seen[raters, dtype]}')
observed = (of_20 * (of_20 - 1)).sum(1).mean() / (20 * 19)
chance = ((of_20.sum(0) / of_20.sum()) ** 2).sum()
assert round(float((observed - chance) / (1 - chance)), 4) == seen[20, 'int64']
assert seen[15, 'int64'] == seen[15, 'uint8'] and seen[20, 'int64'] == 0.6566
assert seen[20, 'uint8'] == -0.1985, 'the behaviour has changed'
print('as stated: kappa of uint8 counts is wrong from 16 raters on')
PY
