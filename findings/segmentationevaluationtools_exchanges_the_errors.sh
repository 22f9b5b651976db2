#!/usr/bin/env bash
# SegmentationEvaluationTools 0.0.9: calculate_overlap_measures gives the truth as the
# source and the prediction as the target to SimpleITK's filter, which counts what the
# source misses of the target as a false negative. So false_negative and false_positive
# are exchanged: of a prediction that finds half of an organ and nothing else, the first
# is 0 and the second is not. A prediction of the organ and as much again has half of it
# missed. Dice and Jaccard do not depend on the order.
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
organ, half, double = np.zeros((3, 20, 20, 20), np.uint8)
organ[2:10, 2:10, 2:10] = half[2:6, 2:10, 2:10] = double[2:18, 2:10, 2:10] = 1
truth = sitk.GetImageFromArray(organ)
errors = {}
for title, array in (('half', half), ('double', double)):
  measures = SIKOverlapTools.calculate_overlap_measures(
      sitk.GetImageFromArray(array), truth)['Global']
  errors[title] = measures['false_negative'], measures['false_positive']
  missed = (organ & ~array & 1).sum() / organ.sum()
  print(f'{title:6} missed share {missed}; false_negative {errors[title][0]:.3f},',
        f'false_positive {errors[title][1]:.3f}')
assert errors['half'][0] == 0 and errors['half'][1] > 0, 'the behaviour has changed'
assert errors['double'] == (0.5, 0)
PY
