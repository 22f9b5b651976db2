#!/usr/bin/env bash
# nilearn 0.14.1: mean_img adds up images in the type of their file and divides
# afterwards. The mean of two identical uint8 images with the value 200 is 72,
# and a map of how often an organ lies at a place, of 300 masks that all hold
# it, is 44 / 300 and not 1. There is no warning; as float32, the same files are
# right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'nilearn==0.14.1' 'nibabel==5.4.2' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import nibabel
import nilearn
import numpy as np
from nilearn import image


def mean(value, number, kind):
  one = nibabel.Nifti1Image(np.full((2, 2, 2), value, kind), np.eye(4))
  return float(image.mean_img([one] * number).get_fdata().max())


print('nilearn', nilearn.__version__)
two = {kind: mean(200, 2, kind) for kind in ('uint8', 'float32')}
many = {kind: mean(1, 300, kind) for kind in ('uint8', 'float32')}
print('mean of 200 and 200:', two)
print('mean of 300 masks:  ', many)
assert two == {'uint8': 72, 'float32': 200}
assert np.isclose(many['uint8'], 44 / 300) and np.isclose(
    many['float32'], 1), 'the behaviour has changed'
PY
