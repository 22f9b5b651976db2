#!/usr/bin/env bash
# SegmentationEvaluationTools 0.0.9: determine_false_positive_rate_and_false_volume
# subtracts the truth from the prediction in their own type. In uint8, the usual type of
# a mask, a missed voxel becomes 255 and counts as a false positive. A prediction that
# finds half of an organ of 0.512 cc and nothing else has a false positive volume of 0.256
# cc, a false prediction volume of 0.512 cc and an over-segmentation of -0.256 cc, by
# 0 false positives. The same masks as int16 have 0 in all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SegmentationEvaluationTools==0.0.9' 'SimpleITK==2.5.7' 'numpy==2.4.6' 'matplotlib==3.11.2'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import SimpleITK as sitk
from SegmentationEvaluationTools import SIKOverlapTools

print('SegmentationEvaluationTools',
      importlib.metadata.version('SegmentationEvaluationTools'))
organ, half = np.zeros((2, 12, 12, 12), np.uint8)
organ[2:10, 2:10, 2:10] = half[2:10, 2:10, 2:6] = 1
volumes = {}
for kind in (np.uint8, np.int16):
  found = SIKOverlapTools.determine_false_positive_rate_and_false_volume(
      *(sitk.GetImageFromArray(array.astype(kind)) for array in (half, organ)))
  volumes[kind] = [round(float(found[name + ' (cc)']), 3) for name in (
      'False Positive Volume', 'False Prediction Volume', 'Over Segmentation Volume')]
  assert found['Number False Positives'] == 0
  print(kind.__name__, volumes[kind])
assert volumes[np.int16] == [0, 0, 0]
assert volumes[np.uint8] == [0.256, 0.512, -0.256], 'the behaviour has changed'
PY
