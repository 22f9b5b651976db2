#!/usr/bin/env bash
# pycocotools 2.0.11: the evaluation notes the id of the matched annotation for
# each detection, and 0 for no match. If ids start at 0, as they do when one
# counts objects with enumerate, the detection that finds annotation 0 is a
# false alarm: of two images with one lesion each, both found exactly, the
# average precision is 0.25 and the recall 0.5. With ids from 1 both are 1, and
# nothing warns of the difference.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'pycocotools==2.0.11' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W error - <<'PY'
import contextlib
import importlib.metadata
import io

import numpy as np
from pycocotools import coco
from pycocotools import cocoeval
from pycocotools import mask as masks


def evaluate(first, kind):
  lesion = np.zeros((64, 64), np.uint8, order='F')
  lesion[20:40, 10:30] = 1
  shape = dict(bbox=[10, 20, 20, 20], segmentation=masks.encode(lesion))
  truth = coco.COCO()
  truth.dataset = dict(
      images=[dict(id=i, width=64, height=64) for i in (1, 2)],
      categories=[dict(id=1, name='lesion')],
      annotations=[
          dict(shape, id=first + i, image_id=i + 1, category_id=1, area=400,
               iscrowd=0) for i in range(2)])
  with contextlib.redirect_stdout(io.StringIO()):
    truth.createIndex()
    found = truth.loadRes([
        dict(image_id=i, category_id=1, score=1 - i / 10, **{kind: shape[kind]})
        for i in (1, 2)])
    result = cocoeval.COCOeval(
        truth, found, {'segmentation': 'segm'}.get(kind, kind))
    result.evaluate()
    result.accumulate()
    result.summarize()
  return round(float(result.stats[0]), 2), round(float(result.stats[8]), 2)


print('pycocotools', importlib.metadata.version('pycocotools'))
for kind in ('segmentation', 'bbox'):
  for first in (1, 0):
    seen = evaluate(first, kind)
    print(f'{kind}, ids from {first}: AP {seen[0]}, AR {seen[1]}')
    if first:
      assert seen == (1, 1)
    else:
      assert seen == (0.25, 0.5), 'the behaviour has changed'
print('as stated: annotation 0 cannot be found')
PY
