#!/usr/bin/env bash
# yolococo 0.2.1: yolo_to_coco clips the boxes to the image. A box over the right or
# lower edge ends there. One over the left or upper edge begins there, but keeps its
# full width and height, so that its other side moves into the image: a box from -5 to
# 15 becomes 0 to 20 in place of 0 to 15, while one from 85 to 105 becomes 85 to 100.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: neither is needed where the size of the images is given.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'yolococo==0.2.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
from pathlib import Path

from yolococo.convert import yolo_to_coco

print('yolococo', importlib.metadata.version('yolococo'))
images, labels = Path('images'), Path('labels')
images.mkdir()
labels.mkdir()
boxes = {'left': (0.05, 0.5), 'right': (0.95, 0.5), 'upper': (0.5, 0.05), 'lower': (0.5, 0.95)}
(images / 'a.png').write_bytes(b'not opened here')
(labels / 'a.txt').write_text(''.join(f'0 {x} {y} 0.2 0.2\n' for x, y in boxes.values()))
dataset = yolo_to_coco(images, labels, image_size=(100, 100), show_progress=False)
seen = {}
for name, found in zip(boxes, dataset['annotations'], strict=True):
  x, y = (number * 100 for number in boxes[name])
  right = [max(0, x - 10), max(0, y - 10)]
  right += [min(100, x + 10) - right[0], min(100, y + 10) - right[1]]
  seen[name] = found['bbox'], found['area']
  print(f"over the {name} edge: x, y, width, height {found['bbox']}, area {found['area']}, "
        f'in place of {right}')
  assert (found['bbox'] == right) == (name in ('right', 'lower'))
assert seen['right'] == ([85, 40, 15, 20], 300) and seen['lower'] == ([40, 85, 20, 15], 300)
assert seen['left'] == ([0, 40, 20, 20], 400), 'the behaviour has changed'
assert seen['upper'] == ([40, 0, 20, 20], 400)
print('as stated: boxes over the left and the upper edge reach too far')
PY
