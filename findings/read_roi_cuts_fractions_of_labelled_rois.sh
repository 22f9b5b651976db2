#!/usr/bin/env bash
# read-roi 1.6.0: the options of an ImageJ ROI are bits, and read-roi compares the
# whole number with the bit for subpixel coordinates. A polygon with that bit alone
# keeps its fractions. With one more bit, as the one that shows the labels of an
# overlay, it takes the whole numbers that ImageJ stores beside them: the points are
# moved by up to half a pixel. roifile reads the same files right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'read-roi==1.6.0' 'roifile==2026.2.10' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import read_roi
from roifile import ImagejRoi
from roifile import ROI_OPTIONS

print('read-roi', importlib.metadata.version('read-roi'))
points = [[1.25, 2.5], [10.75, 2.5], [10.75, 8.25], [1.25, 8.25]]
subpixel = ROI_OPTIONS.SUB_PIXEL_RESOLUTION
seen = {}
for name, options in (('subpixel', subpixel),
                      ('labels', subpixel | ROI_OPTIONS.OVERLAY_LABELS),
                      ('spline', subpixel | ROI_OPTIONS.SPLINE_FIT)):
  roi = ImagejRoi.frompoints(np.array(points, 'float32'))
  roi.options = options
  roi.tofile(f'{name}.roi')
  assert ImagejRoi.fromfile(f'{name}.roi').coordinates().tolist() == points
  read = read_roi.read_roi_file(f'{name}.roi')[name]
  seen[name] = [list(point) for point in zip(read['x'], read['y'], strict=True)]
  print(f'options {int(options)} ({name}): {seen[name]}')
assert seen['subpixel'] == points
whole = [[1, 2], [11, 2], [11, 8], [1, 8]]
assert seen['labels'] == seen['spline'] == whole, 'the behaviour has changed'
print('as stated: a second option takes the fractions away')
PY
