#!/usr/bin/env bash
# lesion-metrics 0.1.12: iou_per_lesion is to give the IoU of each lesion of a mask with
# another mask. It cuts the other mask to the box around the lesion, so that what the other
# has beyond the box is not in the union. A lesion of 64 voxels and a prediction that marks
# all 8000 voxels of the image have an IoU of 1, where jaccard of the same package says
# 0.008. ltpr takes it for found with any iou_threshold below 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'lesion-metrics==0.1.12' 'scikit-image==0.26.0' 'scipy==1.17.1' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from lesion_metrics import metrics

print('lesion-metrics', importlib.metadata.version('lesion-metrics'))
assert metrics.iou_per_lesion.__doc__ == 'iou of each lesion using target as reference', (
    'the documentation has changed')
truth = np.zeros((20, 20, 20), bool)
truth[2:6, 2:6, 2:6] = True
everything = np.ones_like(truth)
found, right = metrics.iou_per_lesion(truth, everything), metrics.jaccard(everything, truth)
rate = metrics.ltpr(everything, truth, iou_threshold=0.99)
print(f'a lesion of {truth.sum()} voxels, a prediction of {everything.sum()}:')
print('jaccard:', right, ' iou_per_lesion:', found, ' ltpr with a threshold of 0.99:', rate)
# The other way around, of the prediction's one object, the IoU is right.
assert metrics.iou_per_lesion(everything, truth) == [right] == [64 / 8000]
assert found == [1.0] and rate == 1.0, 'the behaviour has changed'
print('as stated: voxels beyond the box of the lesion do not count')
PY
