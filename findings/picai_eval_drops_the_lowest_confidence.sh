#!/usr/bin/env bash
# picai_eval 1.4.13: the FROC curve of its README (lesion_TPR by lesion_FPR)
# takes the lowest confidence for the mark of missed lesions, though there is no
# such mark when all lesions are found. The lesions and false positives at that
# confidence are lost: a perfect detector that says 1 wherever a lesion lies has
# a sensitivity of 0 at any number of false positives, and an AP of 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'picai_eval==1.4.13' 'numpy==2.2.6' 'scipy==1.17.1' 'scikit-learn==1.9.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import picai_eval

print('picai_eval', importlib.metadata.version('picai_eval'))
first, second, none = np.zeros((3, 4, 16, 16), int)
first[1:3, 4:8, 4:8] = 1
second[1:3, 9:12, 9:12] = 1
seen = {}
for name, confidences in (
    ('all found with confidence 1', (1, 1)),
    ('found with 0.9 and 0.3', (0.9, 0.3)),
    ('one of two missed', (0.9, 0))):
  maps = [first * confidences[0], second * confidences[1], none]
  metrics = picai_eval.evaluate(
      y_det=[m.astype(np.float32) for m in maps],
      y_true=[first, second, none], num_parallel_calls=1)
  seen[name] = metrics.lesion_TPR_at_FPR(1)
  print(f'{name}: AP {metrics.AP}, sensitivity at 1 false positive a case '
        f'{seen[name]}')
# The right values are 1, 1 and 0.5.
assert list(seen.values()) == [0, 0.5, 0.5], 'the behaviour has changed'
print('as stated: the lesions of the lowest confidence are lost')
PY
