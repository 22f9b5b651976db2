#!/usr/bin/env bash
# bbox-utils 0.1.1: to_yolo divides the width and the height by 2 without a
# remainder, so that the centre of a box with an odd side lies half a pixel too
# far to the left or to the top, although YOLO coordinates are fractions. A box of
# 5 x 3 pixels at (10, 20) in an image of 100 x 100 gets the centre (0.12, 0.21)
# in place of (0.125, 0.215), and from_yolo puts it at (9.5, 19.5): its IoU with the
# box that was written is 0.6. Boxes of even sides come back as they were.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'bbox-utils==0.1.1' 'pyquaternion==0.9.9' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from bbox_utils import BoundingBox
import numpy as np

print('bbox-utils', importlib.metadata.version('bbox-utils'))
image = np.array([100, 100])
overlap = {}
for width, height in ((4, 6), (5, 3)):
  box = BoundingBox.from_xywh(np.array([10.0, 20.0]), width, height)
  x, y, w, h = box.to_yolo(image).tolist()
  right = ((10 + width / 2) / 100, (20 + height / 2) / 100)
  back = BoundingBox.from_yolo((x, y), w, h, image)
  shared = np.maximum(0, np.minimum(box.br, back.br) - np.maximum(box.tl, back.tl)).prod()
  overlap[width, height] = round(float(shared / (2 * width * height - shared)), 3)
  print(f'{width} x {height} at (10, 20): centre ({x:.3f}, {y:.3f}) in place of '
        f'{right}; back at {[float(v) for v in back.tl]}, IoU {overlap[width, height]}')
  assert ((x, y) == right) == (width == 4)
  assert np.allclose([w, h], [width / 100, height / 100])
assert overlap[4, 6] == 1 and overlap[5, 3] == 0.6, 'the behaviour has changed'
print('as stated: a box with odd sides is moved by half a pixel')
PY
