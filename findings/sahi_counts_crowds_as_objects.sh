#!/usr/bin/env bash
# sahi 0.12.8: reading a COCO file forgets which annotations are crowds, regions
# that an evaluation leaves out. Written again, or sliced into tiles, each of
# them has iscrowd 0 and is an object to be found. The same two detections, one
# of a cell and one inside a crowd, have an average precision of 1 by the file
# as it was and of 0.25 by the file after it went through sahi.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'sahi==0.12.8' 'numpy==2.4.6' 'pycocotools==2.0.11'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import contextlib
import copy
import importlib.metadata
import io

import numpy as np
from pycocotools import coco, cocoeval
from sahi.utils.coco import Coco

print('sahi', importlib.metadata.version('sahi'))


def polygon(x, y, width, height):
  """Returns the outline of a rectangle as COCO has it."""
  return [[x, y, x + width, y, x + width, y + height, x, y + height]]


boxes = {1: (0, 0, 20, 20), 2: (50, 0, 50, 100)}
before = {
    'images': [{'id': 1, 'file_name': 'a.png', 'width': 100, 'height': 100}],
    'categories': [{'id': 1, 'name': 'cell', 'supercategory': 'cell'}],
    'annotations': [{
        'id': k, 'image_id': 1, 'category_id': 1, 'bbox': list(box),
        'segmentation': polygon(*box), 'area': box[2] * box[3],
        'iscrowd': int(k == 2)} for k, box in boxes.items()]}
after = Coco.from_coco_dict_or_path(copy.deepcopy(before)).json
found = [{'image_id': 1, 'category_id': 1, 'bbox': box, 'score': score}
         for box, score in (([0, 0, 20, 20], 0.8), ([60, 40, 20, 20], 0.9))]


def precision(data):
  """Returns pycocotools' average precision of the detections."""
  truth = coco.COCO()
  with contextlib.redirect_stdout(io.StringIO()):
    truth.dataset = copy.deepcopy(data)
    truth.createIndex()
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(copy.deepcopy(found)),
                                   'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return evaluation.stats[0]


crowds = [[item['iscrowd'] for item in data['annotations']]
          for data in (before, after)]
scores = [precision(data) for data in (before, after)]
print('iscrowd in the file:', crowds[0], 'after sahi:', crowds[1])
print('average precision by either file:', np.round(scores, 4).tolist())
assert crowds[0] == [0, 1] and abs(scores[0] - 1) < 1e-9
assert crowds[1] == [0, 0] and scores[1] < 0.3, 'the behaviour has changed'
print('as stated: the crowd has become an object')
PY
