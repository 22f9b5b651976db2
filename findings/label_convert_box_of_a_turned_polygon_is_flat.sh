#!/usr/bin/env bash
# label-convert 0.3.0: LabelmeToCOCO gives each polygon a bbox, which in COCO is the left,
# the top, the width and the height of the upright box. It takes the smallest turned
# rectangle around the polygon, and for the width and height the way from one of its
# corners to the opposite one. Of a polygon that is upright the box is right. A square that
# stands on its corner, 40 pixels wide and high, has a box of height 0 in its middle.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'label-convert==0.3.0' 'opencv-python==5.0.0.93' 'numpy==2.4.6' 'tqdm==4.70.1' 'pyyaml==6.0.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
import pathlib

import cv2
from label_convert import labelme_to_coco
import numpy as np

print('label-convert', importlib.metadata.version('label-convert'))
polygons = {'upright': [[10, 10], [30, 10], [30, 20], [10, 20]],
            'turned': [[50, 10], [70, 30], [50, 50], [30, 30]]}
folder = pathlib.Path('set')
folder.mkdir()
cv2.imwrite('set/image.png', np.zeros((60, 100), np.uint8))
(folder / 'image.json').write_text(json.dumps({
    'version': '5.5.0', 'flags': {}, 'imagePath': 'image.png', 'imageData': None,
    'imageHeight': 60, 'imageWidth': 100, 'shapes': [
        {'label': name, 'points': points, 'shape_type': 'polygon', 'group_id': None, 'flags': {}}
        for name, points in polygons.items()]}))
labelme_to_coco.LabelmeToCOCO('set', 'coco', val_ratio=0)()
coco = json.loads(pathlib.Path('coco/annotations/instances_train2017.json').read_text())
names = {category['id']: category['name'] for category in coco['categories']}
boxes = {names[a['category_id']]: a['bbox'] for a in coco['annotations']}
for name, points in polygons.items():
  low, high = np.min(points, axis=0), np.max(points, axis=0)
  right = [*low.tolist(), *(high - low).tolist()]
  print(f'{name} square or rectangle: box {right}, in the file {boxes[name]}')
assert boxes['upright'] == [10, 10, 20, 10]
assert boxes['turned'] == [30, 30, 40, 0], 'the behaviour has changed'
print('as stated: the box of the turned square has no height')
PY
