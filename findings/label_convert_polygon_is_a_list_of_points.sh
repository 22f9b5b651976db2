#!/usr/bin/env bash
# label-convert 0.3.0: a COCO segmentation is a list of polygons, each a flat list x, y, x,
# y. LabelmeToCOCO writes rectangles so. It writes a polygon as a list of its points, which
# by the format are as many polygons of one point each. pycocotools 2.0.11 refuses to make
# a mask of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'label-convert==0.3.0' 'pycocotools==2.0.11' 'opencv-python==5.0.0.93' 'numpy==2.4.6' 'tqdm==4.70.1' 'pyyaml==6.0.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
import pathlib

import cv2
from label_convert import labelme_to_coco
import numpy as np
from pycocotools import coco as coco_lib

print('label-convert', importlib.metadata.version('label-convert'),
      'pycocotools', importlib.metadata.version('pycocotools'))
# LabelMe writes fractions of pixels.
shapes = {'rectangle': [[10.0, 10.0], [30.0, 20.0]],
          'polygon': [[10.0, 10.0], [30.0, 10.0], [40.0, 15.0], [30.0, 20.0], [10.0, 20.0]]}
folder = pathlib.Path('set')
folder.mkdir()
cv2.imwrite('set/image.png', np.zeros((60, 100), np.uint8))
(folder / 'image.json').write_text(json.dumps({
    'version': '5.5.0', 'flags': {}, 'imagePath': 'image.png', 'imageData': None,
    'imageHeight': 60, 'imageWidth': 100, 'shapes': [
        {'label': kind, 'points': points, 'shape_type': kind, 'group_id': None, 'flags': {}}
        for kind, points in shapes.items()]}))
labelme_to_coco.LabelmeToCOCO('set', 'coco', val_ratio=0)()
coco = coco_lib.COCO('coco/annotations/instances_train2017.json')
seen = {}
for annotation in coco.anns.values():
  kind = coco.cats[annotation['category_id']]['name']
  try:
    seen[kind] = int(coco.annToMask(annotation).sum())
  except ValueError as error:
    seen[kind] = str(error)
  print(f'{kind}: {annotation["segmentation"]}, pixels of the mask: {seen[kind]}')
assert seen['rectangle'] == 200
assert np.array(next(a['segmentation'] for a in coco.anns.values()
                     if len(a['segmentation']) > 1)).shape == (5, 2), 'the behaviour has changed'
assert seen['polygon'] == 'Buffer has wrong number of dimensions (expected 1, got 2)', (
    'the behaviour has changed')
print('as stated: there is no mask of the polygon')
PY
