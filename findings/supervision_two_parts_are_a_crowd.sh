#!/usr/bin/env bash
# supervision 0.31.2 writes an object whose mask has two parts or a hole (two
# kidneys, a ring) as a crowd (iscrowd 1) in its COCO export, for which its
# guide names only another coding of the mask. COCO's evaluation leaves crowds
# out: a prediction that misses each such object still has the best recall.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'supervision==0.31.2' 'pycocotools==2.0.11' 'opencv-python==5.0.0.93' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import contextlib
import io
import json

import cv2
import numpy as np
import supervision
from pycocotools import coco
from pycocotools import cocoeval
from pycocotools import mask as mask_lib

masks = np.zeros((3, 40, 60), bool)
masks[0, 2:12, 2:12] = True
masks[1, 15:25, 5:15] = masks[1, 15:25, 30:40] = True
masks[2, 28:38, 40:58] = True
masks[2, 31:34, 45:50] = False
cv2.imwrite('a.png', np.zeros((40, 60, 3), np.uint8))
supervision.DetectionDataset(['organ'], ['a.png'], {
    'a.png': supervision.Detections(
        xyxy=supervision.mask_to_xyxy(masks).astype(float), mask=masks,
        class_id=np.zeros(3, int))}).as_coco(annotations_path='a.json')
with open('a.json') as file:
  crowd = [a['iscrowd'] for a in json.load(file)['annotations']]
rle = mask_lib.encode(np.asfortranarray(masks[0].astype(np.uint8)))
with contextlib.redirect_stdout(io.StringIO()):
  truth = coco.COCO('a.json')
  found = truth.loadRes([{
      'image_id': 1, 'category_id': 1, 'score': 1.0, 'segmentation': rle}])
  score = cocoeval.COCOeval(truth, found, 'segm')
  score.evaluate()
  score.accumulate()
recall = score.eval['recall'][0, 0, 0, -1]
print('supervision', supervision.__version__)
print('iscrowd of a square, of two squares, of a ring:', crowd)
print('found: the square only. Recall at an IoU of 0.5:', recall)
assert crowd == [0, 1, 1] and recall == 1, 'the behaviour has changed'
PY
