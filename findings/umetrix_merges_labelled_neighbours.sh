#!/usr/bin/env bash
# umetrix 0.2.0: its metrics take arrays "containing labeled objects", but the labels
# are thrown away and the foreground is labelled anew, so that objects that touch are
# one. Two cells side by side, labelled 1 and 2, are one object: a segmentation that
# takes both for a single cell has a Jaccard index and an IoU of 1 and no error. With
# one empty column between the cells it has a Jaccard index of 0.5.
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
seen = {}
for name, gap in (('side by side', 0), ('with a gap', 1)):
  truth = np.zeros((20, 24), 'uint16')
  truth[4:12, 2:10] = 1
  truth[4:12, 10 + gap : 18 + gap] = 2
  merged = np.zeros_like(truth)
  merged[4:12, 2 : 18 + gap] = 1
  results = umetrix.calculate(truth, merged).results
  seen[name] = results.n_true_labels, float(results.Jaccard), round(float(results.IoU), 4)
  print(f'{name}: labels {np.unique(truth).tolist()}, objects {seen[name][0]}, '
        f'Jaccard {seen[name][1]}, IoU {seen[name][2]}')
assert seen['with a gap'] == (2, 0.5, 0.4706)
assert seen['side by side'] == (1, 1, 1), 'the behaviour has changed'
print('as stated: two labelled cells that touch are one')
PY
