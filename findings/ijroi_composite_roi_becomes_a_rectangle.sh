#!/usr/bin/env bash
# ijroi 0.4.0: kinds of ROI that read_roi does not know raise an error, but a composite
# ROI of ImageJ, one of several parts or with a hole, is read as the rectangle around it,
# by whose type it is stored. An L and a square of together 700 pixels become a rectangle
# of 3600, and nothing is told. roifile reads both parts of the same file.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ijroi==0.4.0' 'roifile==2026.2.10' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import io

import ijroi
import numpy as np
from roifile import ImagejRoi
from roifile import ROI_TYPE

print('ijroi', importlib.metadata.version('ijroi'))


def area(points):
  x, y = np.array(points, float).T
  return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)


parts = [[(10, 10), (40, 10), (40, 20), (20, 20), (20, 50), (10, 50)],
         [(60, 60), (70, 60), (70, 70), (60, 70)]]
# A path of ImageJ: 0 to move to a point, 1 for a line to one, 4 to close the part.
path = []
for part in parts:
  for number, point in enumerate(part):
    path += [min(number, 1), *point]
  path.append(4)
roi = ImagejRoi()
roi.version, roi.roitype = 227, ROI_TYPE.RECT
roi.left, roi.top, roi.right, roi.bottom = 10, 10, 70, 70
roi.multi_coordinates = np.array(path, 'float32')
roi.shape_roi_size = len(path)
data = roi.tobytes()
read = ImagejRoi.frombytes(data)
right = [area(part) for part in read.coordinates(multi=True)]
print(f'roifile: composite {read.composite}, areas of the parts {right}')
points = ijroi.read_roi(io.BytesIO(data)).tolist()
print(f'ijroi: points {points}, area {area(points)}')
assert read.composite and right == [area(part) for part in parts] == [600, 100]
assert points == [[10, 10], [10, 70], [70, 70], [70, 10]], 'the behaviour has changed'
assert area(points) == 3600
print('as stated: a composite ROI is its bounding rectangle')
PY
