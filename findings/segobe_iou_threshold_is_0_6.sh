#!/usr/bin/env bash
# segobe 0.1.3: two cells match if the assignment pairs them and their IoU is above
# iou_threshold, 0.5 unless told otherwise. Leaving both unmatched costs twice
# unmatched_cost, 0.4, and a pair costs twice 1 - IoU, so that no pair up to an IoU
# of 0.6 is ever made, whatever the threshold is. Of three cells with an IoU of 1,
# 0.667 and 0.538 the third is a false positive and a false negative at the default,
# and at a threshold of 0.3 too. Only unmatched_cost of 1 - threshold matches it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'segobe==0.1.3' 'numpy==2.2.6' 'pandas==2.2.3' 'scipy==1.15.3' 'scikit-image==0.25.2' 'matplotlib==3.10.3' 'tifffile==2025.5.10'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import segobe

print('segobe', importlib.metadata.version('segobe'))
truth, found = np.zeros((2, 20, 60), np.int32)
for cell, (start, shift) in enumerate([(2, 0), (22, 2), (42, 3)], 1):
  truth[2:12, start:start + 10] = cell
  found[2:12, start + shift:start + shift + 10] = cell
ious = [((truth == k) & (found == k)).sum() / ((truth == k) | (found == k)).sum()
        for k in (1, 2, 3)]
print('IoU of the three cells:', np.round(ious, 3))


def count(**options):
  """Returns the true positives, false positives and false negatives."""
  score = segobe.SegmentationEvaluator(truth, found, **options).evaluate()
  return [score[name + 's'] for name in (
      'true_positive', 'false_positive', 'false_negative')]


default, low, cost = count(), count(iou_threshold=0.3), count(unmatched_cost=0.5)
print('default, iou_threshold=0.5:', default)
print('iou_threshold=0.3:         ', low)
print('unmatched_cost=0.5:        ', cost)
assert min(ious) > 0.5 and cost == [3, 0, 0]
assert default == low == [2, 1, 1], 'the behaviour has changed'
print('as stated: a pair needs an IoU above 0.6')
PY
