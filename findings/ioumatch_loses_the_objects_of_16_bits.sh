#!/usr/bin/env bash
# ioumatch 0.1.1: evaluate_paths reads masks with one number for each object, and
# names PNG and TIFF. It reads them as grey pictures of 8 bits, so that the numbers
# of a file of 16 bits, as most tools write instances, are divided by 256. Of objects
# 1 to 5 none is left, neither in the truth nor in the prediction, and a perfect
# prediction has an F1 of 0. evaluate_image of the same array finds five of five, and
# so does the same picture saved with 8 bits. No error is raised.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'ioumatch==0.1.1' 'numpy==2.2.6' 'opencv-python-headless==4.11.0.86' 'scipy==1.15.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import cv2
import ioumatch
import numpy as np
from ioumatch import metrics

print('ioumatch', importlib.metadata.version('ioumatch'))
objects = np.zeros((20, 60), np.uint16)
for number in range(5):
  objects[4:12, 12 * number + 2:12 * number + 10] = number + 1
counts = {}
for title, array in (('8 bits, 1 to 5', objects.astype(np.uint8)),
                     ('16 bits, 1 to 5', objects)):
  cv2.imwrite('mask.png', array)
  assert (cv2.imread('mask.png', cv2.IMREAD_UNCHANGED) == array).all()
  exact = ioumatch.evaluate_image(array, array)
  assert [exact[k] for k in ('tp', 'fp', 'fn')] == [5, 0, 0]
  score = metrics.evaluate_paths('mask.png', 'mask.png')
  counts[title] = [score[k] for k in ('tp', 'fp', 'fn')]
  print(f'{title:16}', counts[title], 'F1', score['f1'])
assert list(counts.values()) == [[5, 0, 0], [0, 0, 0]], 'the behaviour has changed'
PY
