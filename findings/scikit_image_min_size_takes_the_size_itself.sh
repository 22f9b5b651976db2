#!/usr/bin/env bash
# scikit-image 0.26.0: remove_small_objects with min_size=8 removes an object of
# 8 voxels, which 0.25.2 keeps, and remove_small_holes with area_threshold=4
# fills a hole of 4 pixels. Both parameters are deprecated, and max_size, which
# includes its own value, takes their place. The documentation says that the old
# ones remove what is strictly smaller. They do not any more: the old number is
# taken for the new one. The warning tells of the difference but not that it is
# here already, and a lesion of exactly the smallest size that counts is lost.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > probe.py <<'PY'
import sys
import warnings

import numpy as np
import skimage
from skimage import morphology

warnings.simplefilter('ignore')
lesion = np.zeros((6, 6, 6), bool)
lesion[1:3, 1:3, 1:3] = True
hole = np.ones((7, 7), bool)
hole[2:4, 2:4] = False
by_name = morphology.remove_small_objects(lesion, min_size=8)
by_place = morphology.remove_small_objects(lesion, 8)
filled = morphology.remove_small_holes(hole, area_threshold=4)
seen = int(by_name.sum()), int(by_place.sum()), int((~filled).sum())
print(f'scikit-image {skimage.__version__}: of 8 voxels {seen[0]} are left '
      f'(by position {seen[1]}), of a hole of 4 pixels {seen[2]}')
assert str(seen) == sys.argv[1], 'the behaviour has changed'
PY
for version in 0.25.2 0.26.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" install --quiet --disable-pip-version-check \
    "scikit-image==$version" 'numpy==2.4.6' 'scipy==1.17.1'
done
"$work/0.25.2/bin/python" probe.py '(8, 8, 4)'
"$work/0.26.0/bin/python" probe.py '(0, 0, 0)'
echo 'as stated: the old parameter removes the size itself'
