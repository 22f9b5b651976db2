#!/usr/bin/env bash
# nilabels 0.0.8: relabel_half_side_one_label gives a label on one side of a plane another
# number, as for the left and right half of an organ. 'below' a plane of the axis y only
# the plane itself is changed, the first one that is not below. Of 6 x 8 x 5 voxels with
# the plane 3, 30 get the new label in place of 90, and none of the 90 is among them.
# 'above', and both sides along x and z, are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'nilabels==0.0.8' 'numpy==1.23.5' 'nibabel==3.2.2' 'pandas==1.5.3' 'scipy==1.10.1' 'scikit-image==0.20.0' 'matplotlib==3.7.5' 'scikit-learn==1.2.2' 'packaging==24.2' 'setuptools==65.5.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import numpy as np

warnings.simplefilter('ignore')
from nilabels.tools.image_colors_manipulations import relabeller

print('nilabels', importlib.metadata.version('nilabels'))
organ = np.ones((6, 8, 5), int)
for axis, name in enumerate('xyz'):
  place = np.arange(organ.shape[axis]).reshape([-1 if k == axis else 1 for k in range(3)])
  for side, true in (('above', place >= 3), ('below', place < 3)):
    true = np.broadcast_to(true, organ.shape)
    found = relabeller.relabel_half_side_one_label(organ, 1, 2, side, name, 3) == 2
    print(f'{name} {side}: {found.sum():3} relabelled, {true.sum():3} on this side, '
          f'{(found & true).sum():3} of them')
    if (name, side) == ('y', 'below'):
      assert found.sum() == 30 and not (found & true).any(), (
          'the behaviour has changed')
    else:
      assert (found == true).all()
PY
