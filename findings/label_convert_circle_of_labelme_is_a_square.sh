#!/usr/bin/env bash
# label-convert 0.3.0: LabelmeToCOCO converts rectangles, polygons and circles of LabelMe
# for object detection and segmentation, and names the kinds that it skips. The outline of
# a circle becomes that of the square around it, without a word, and its area that of the
# square: 400 for a circle with a radius of 10 pixels, which has 314.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'label-convert==0.3.0' 'opencv-python==5.0.0.93' 'numpy==2.4.6' 'tqdm==4.70.1' 'pyyaml==6.0.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
import math
import pathlib

import cv2
from label_convert import labelme_to_coco
import numpy as np

print('label-convert', importlib.metadata.version('label-convert'))
assert 'object detection and image segmentation' in importlib.metadata.metadata(
    'label-convert')['Summary'], 'the documentation has changed'
folder = pathlib.Path('set')
folder.mkdir()
cv2.imwrite('set/image.png', np.zeros((60, 100), np.uint8))
(folder / 'image.json').write_text(json.dumps({
    'version': '5.5.0', 'flags': {}, 'imagePath': 'image.png', 'imageData': None,
    'imageHeight': 60, 'imageWidth': 100, 'shapes': [{
        # LabelMe writes the centre and one point of the circle.
        'label': 'lesion', 'points': [[50, 30], [60, 30]], 'shape_type': 'circle',
        'group_id': None, 'flags': {}}]}))
labelme_to_coco.LabelmeToCOCO('set', 'coco', val_ratio=0)()
coco = json.loads(pathlib.Path('coco/annotations/instances_train2017.json').read_text())
annotation, = coco['annotations']
print('area of the circle:', round(math.pi * 10 ** 2, 1), ' in the file:', annotation['area'])
print('outline in the file:', annotation['segmentation'])
assert annotation['bbox'] == [40, 20, 20, 20]
assert annotation['area'] == 400 and annotation['segmentation'] == [
    [40, 20, 60, 20, 60, 40, 40, 40]], 'the behaviour has changed'
print('as stated: the circle is a square')
PY
