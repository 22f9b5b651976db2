#!/usr/bin/env bash
# label-studio-sdk 2.1.2: the converter of brushes to COCO leaves out an object
# of one pixel without a warning, since its contour has too few points.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2 opencv-python-headless==4.12.0.88
cat > run.py <<'PY'
from label_studio_sdk.converter import brush
from label_studio_sdk.converter.exports import brush_to_coco
import numpy as np


def parts(size):
  """Number of polygons of a square object."""
  mask = np.zeros((30, 30), np.uint8)
  mask[4 : 4 + size, 4 : 4 + size] = 255
  return len(brush_to_coco.generate_contour_from_rle(
      brush.mask2rle(mask), 30, 30)[0])


print('1 pixel:', parts(1), '9 pixels:', parts(3))
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf '1 pixel: 0 9 pixels: 1\n' | diff - seen.txt
echo 'as stated: label-studio-sdk 2.1.2'
