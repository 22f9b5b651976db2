#!/usr/bin/env bash
# imantics 0.1.12: its YOLO export writes a box as its upper left corner and its
# size, while a line of the YOLO format holds the box's centre and its size.
# Every box is read back half its width and height too far up and left: of a box
# of a quarter of the picture in its centre, a reader finds 1/7 by IoU.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'imantics==0.1.12' 'numpy==2.4.6' 'opencv-python==5.0.0.93' 'lxml==6.1.3' 'globox==2.9.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import globox
import imantics

print('imantics', importlib.metadata.version('imantics'))
picture = imantics.Image.empty(width=100, height=100)
picture.add(imantics.BBox((25, 25, 75, 75)), imantics.Category('organ'))
assert picture.annotations[1].bbox.bbox() == (25, 25, 75, 75)
line, = picture.yolo()
print('box from (25, 25) to (75, 75) of 100 x 100:', line)
with open('a.txt', 'w') as file:
  file.write(line)
box, = globox.Annotation.from_yolo_darknet('a.txt', image_size=(100, 100)).boxes
print('read by globox: from', (box.xmin, box.ymin), 'to', (box.xmax, box.ymax))
iou = box.iou(globox.BoundingBox(label='1', xmin=25, ymin=25, xmax=75, ymax=75))
print('IoU:', round(iou, 3), 'and not 1')
assert line == '1 0.25000 0.25000 0.50000 0.50000', 'the behaviour has changed'
assert (box.xmin, box.ymin, box.xmax, box.ymax) == (0, 0, 50, 50)
print('as stated: the corner stands at the place of the centre')
PY
