#!/usr/bin/env bash
# seg_metrics 1.2.8: the volume similarity 'vs' of an empty truth and an empty
# prediction is 0 where it is asked for alone, and 1 where a distance such as
# 'hd' is asked for in the same call. 0 is also its value for equal volumes. One
# number of a table must not depend on which other columns the table has.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'seg-metrics==1.2.8' 'medutils==0.1.21' 'SimpleITK==2.5.7' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
from seg_metrics import seg_metrics

nothing = np.zeros((6, 6, 6), int)


def similarity(names):
  return seg_metrics.write_metrics(
      labels=[1], gdth_img=nothing, pred_img=nothing,
      metrics=names)[0]['vs'][0]


alone, together = similarity(['vs']), similarity(['vs', 'hd'])
print('seg_metrics 1.2.8')
print("metrics=['vs']:      ", alone)
print("metrics=['vs', 'hd']:", together)
assert (alone, together) == (0, 1), 'the behaviour has changed'
PY
