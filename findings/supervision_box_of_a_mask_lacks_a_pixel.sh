#!/usr/bin/env bash
# supervision 0.31.2: mask_to_xyxy ends a box at the index of the last pixel,
# and every measure of boxes of the same library takes that for the edge. The
# box of a mask of 10 x 10 pixels has an area of 81, and 0.81 of the overlap
# with pycocotools' box of the same mask; the box of a vessel one pixel wide has
# no width, so that its overlap with itself is 0 and it can never be matched.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'supervision==0.31.2' 'pycocotools==2.0.11' 'opencv-python==5.0.0.93' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import supervision
from pycocotools import mask as mask_lib

masks = np.zeros((2, 40, 60), bool)
masks[0, 5:15, 5:15] = True
masks[1, 5:35, 30] = True
boxes = supervision.mask_to_xyxy(masks).astype(float)
coco = mask_lib.toBbox(mask_lib.encode(
    np.asfortranarray(np.moveaxis(masks, 0, -1).astype(np.uint8))))
coco[:, 2:] += coco[:, :2]
area = supervision.Detections(xyxy=boxes).box_area
own = supervision.box_iou_batch(boxes, boxes).diagonal()
both = supervision.box_iou_batch(boxes, coco).diagonal()
print('supervision', supervision.__version__)
print('boxes of the square and the vessel:', boxes.tolist())
print('by pycocotools:                    ', coco.tolist())
print('areas:', area, 'IoU with itself:', own, 'with pycocotools:', both)
assert area.tolist() == [81, 0] and own.tolist() == [1, 0]
assert np.allclose(both, [0.81, 0]), 'the behaviour has changed'
PY
