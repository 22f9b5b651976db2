#!/usr/bin/env bash
# label-studio-sdk 2.1.2: `brush.contour2rle(contours, number, width, height)`
# draws the contour on a picture whose sides are exchanged. On a picture that is
# not square, the encoded brush loses its pixels: 100 of them become 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q label-studio-sdk==2.1.2 opencv-python-headless==4.12.0.88
cat > run.py <<'PY'
import cv2
from label_studio_sdk.converter import brush
import numpy as np


def kept(height, width):
  """Pixels of a square of 100 pixels that the encoded brush still has."""
  mask = np.zeros((height, width), np.uint8)
  mask[5:15, 25:35] = 1
  contours, _ = cv2.findContours(
      mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
  encoded = brush.contour2rle(contours, 0, width, height)
  found = brush.decode_rle(encoded).reshape(height, width, 4)[..., 3] > 0
  return int((found & (mask > 0)).sum())


print('square:', kept(40, 40))
print('wide:', kept(20, 40))
PY
venv/bin/python run.py 2> log.txt | tee seen.txt
printf 'square: 100\nwide: 0\n' | diff - seen.txt
echo 'as stated: label-studio-sdk 2.1.2'
