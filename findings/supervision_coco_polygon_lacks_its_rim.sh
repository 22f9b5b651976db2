#!/usr/bin/env bash
# supervision 0.31.2 writes a mask to COCO as the polygon through the centres of
# its outermost pixels; COCO takes a polygon for the outer edge. Read by
# pycocotools, a mask of 10 x 10 pixels has 81, though the file's own 'area'
# says 100, and a line one pixel wide has no polygon at all. Small lesions lose
# most.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'supervision==0.31.2' 'pycocotools==2.0.11' 'opencv-python==5.0.0.93' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import warnings

import cv2
import numpy as np
import supervision
from pycocotools import coco

warnings.simplefilter('ignore')
masks = np.zeros((3, 40, 60), bool)
masks[0, 2:12, 2:12] = True
masks[1, 20:24, 20:24] = True
masks[2, 5:35, 50] = True
cv2.imwrite('a.png', np.zeros((40, 60, 3), np.uint8))
supervision.DetectionDataset(['organ'], ['a.png'], {
    'a.png': supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).astype(float), mask=masks,
        class_id=np.zeros(3, int))}).as_coco(annotations_path='a.json')
with open('a.json') as file:
  written = json.load(file)['annotations']
data = coco.COCO('a.json')
print('supervision', supervision.__version__)
found = []
for mask, item in zip(masks, written):
  polygons = item['segmentation']
  found.append(int(data.annToMask(item).sum()) if polygons else None)
  print('mask:', mask.sum(), 'area in the file:', item['area'],
        'pixels by pycocotools:', found[-1])
assert [item['area'] for item in written] == [100, 16, 30]
assert found == [81, 9, None], 'the behaviour has changed'
PY
