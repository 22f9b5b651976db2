#!/usr/bin/env bash
# nilabels 0.0.8: the 'averaged' symmetric contour distance is documented as the mean of
# the distances of all points of one contour to the other, and the same back. Points at
# distance 0 are left out first. Of a cube of 10 voxels a side and the same with a bump of
# 9 voxels, 1 mm high, nearly all points are at 0, and the distance is 1 mm in place of
# 0.018. 'median' is 1 as well. 'normalised', a sum over all points, is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'nilabels==0.0.8' 'numpy==1.23.5' 'nibabel==3.2.2' 'pandas==1.5.3' 'scipy==1.10.1' 'scikit-image==0.20.0' 'matplotlib==3.7.5' 'scikit-learn==1.2.2' 'packaging==24.2' 'setuptools==65.5.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import nibabel as nib
import numpy as np

warnings.simplefilter('ignore')
from nilabels.tools.caliber import distances
from nilabels.tools.detections import contours

print('nilabels', importlib.metadata.version('nilabels'))
cube = np.zeros((30, 30, 30), np.int16)
cube[5:15, 5:15, 5:15] = 1
bump = cube.copy()
bump[15, 8:11, 8:11] = 1
images = [nib.Nifti1Image(array, np.eye(4)) for array in (cube, bump)]
found = {formula: float(distances.symmetric_contour_distance_one_label(
    *images, 1, True, formula)) for formula in ('normalised', 'averaged', 'median')}
one, other = (np.argwhere(contours.get_internal_contour_with_erosion_at_label(
    array, 1)) for array in (cube, bump))
directed = [np.linalg.norm(a[:, None] - b, axis=2).min(1) for a, b in (
    (one, other), (other, one))]
true = float(np.mean([np.mean(part) for part in directed]))
print(found, 'mean of all points:', round(true, 4))
assert 0.01 < true < 0.02 and 0.01 < found['normalised'] < 0.02
assert found['averaged'] == found['median'] == 1, 'the behaviour has changed'
assert np.median(directed[0]) == np.median(directed[1]) == 0
PY
