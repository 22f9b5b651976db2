#!/usr/bin/env bash
# dice-score-3d 1.1.2: dtype is to be 'uint8', the default, "when having less than
# 255 classes". What counts is the largest label, not the number of classes: the
# voxels are cast, so that a label above 255 is found in neither mask, and two empty
# masks have a Dice of 1. Of two classes with the labels 17 and 1001, as FreeSurfer
# numbers a hippocampus and a part of the cortex, the second has a Dice of 1 for a
# prediction that misses all of it. With 'uint16' it is 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dice-score-3d==1.1.2' 'SimpleITK==2.5.7' 'numpy==2.2.6' 'tqdm==4.67.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import SimpleITK as sitk
from dice_score_3d import metrics

print('dice-score-3d', importlib.metadata.version('dice-score-3d'))
assert 'when having less than 255 classes' in metrics.dice_metrics.__doc__, (
    'the documentation has changed')
truth, found = np.zeros((2, 8, 8, 8), np.uint16)
truth[1:3], found[1:3] = 17, 17
truth[4:6] = 1001
for name, array in (('truth', truth), ('found', found)):
  sitk.WriteImage(sitk.GetImageFromArray(array), name + '.nii.gz')
score = {
    dtype: {key: float(value) for key, value in metrics.dice_metrics(
        'truth.nii.gz', 'found.nii.gz', None,
        {'hippocampus': 17, 'cortex': 1001}, dtype=dtype)['found.nii.gz'].items()}
    for dtype in ('uint8', 'uint16')}
for dtype, values in score.items():
  print(dtype, values)
assert score['uint16']['cortex'] == 0 and score['uint16']['hippocampus'] == 1
assert score['uint8']['cortex'] == 1, 'the behaviour has changed'
PY
