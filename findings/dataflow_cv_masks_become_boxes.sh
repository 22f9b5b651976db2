#!/usr/bin/env bash
# dataflow-cv 3.0.0 converts COCO to LabelMe and to YOLO, for segmentation too.
# Where an annotation has a bbox, as COCO demands of each one, its mask is left
# out without a warning: a triangle becomes the rectangle around it, with twice
# the area. No mask of a common COCO file survives.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dataflow-cv==3.0.0' 'pycocotools==2.0.11' 'opencv-python==5.0.0.93' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import logging
import pathlib

import cv2
import numpy as np
from dataflow import convert

logging.disable(logging.CRITICAL)
pathlib.Path('images').mkdir()
cv2.imwrite('images/a.png', np.zeros((40, 60, 3), np.uint8))
pathlib.Path('a.json').write_text(json.dumps({
    'images': [{'id': 1, 'file_name': 'a.png', 'width': 60, 'height': 40}],
    'categories': [{'id': 1, 'name': 'organ'}],
    'annotations': [{
        'id': 1, 'image_id': 1, 'category_id': 1, 'iscrowd': 0, 'area': 50,
        'bbox': [5, 5, 10, 10], 'segmentation': [[5, 5, 15, 5, 5, 15]]}]}))
result = convert.CocoAndLabelMeConverter(source_to_target=True).convert(
    'a.json', 'labelme')
shape, = json.loads(pathlib.Path('labelme/a.json').read_text())['shapes']
convert.YoloAndCocoConverter(source_to_target=False).convert('a.json', 'yolo')
yolo, = [p for p in pathlib.Path('yolo').rglob('*.txt')
         if p.name != 'classes.txt']
line = yolo.read_text().strip()
print('dataflow-cv 3.0.0, of a triangle with its bbox')
print('LabelMe:', shape['shape_type'], shape['points'])
print('YOLO:   ', line)
print('success:', result.success, 'errors:', result.errors)
assert result.success and not result.errors
assert shape['shape_type'] == 'rectangle' and len(line.split()) == 5, (
    'the behaviour has changed')
PY
