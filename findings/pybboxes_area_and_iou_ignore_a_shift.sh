#!/usr/bin/env bash
# pybboxes 0.2.0: shift, scale and clamp of a BoundingBox, the one with corners,
# change its values in place, but not the corners from which area, iou, union and
# intersection are computed. A box of 10 x 20 that was shifted by 50, beside the
# place where it was, has an IoU of 1 with the box as it was, and one that was
# scaled by 4 has still the area 200. A CocoBoundingBox gives 0 and 800.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: it asks for one version of three packages, two of
# which it does not import here.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy==1.26.4'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'pybboxes==0.2.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from pybboxes import BoundingBox
from pybboxes import CocoBoundingBox

print('pybboxes', importlib.metadata.version('pybboxes'))
seen = {}
for name, kind, numbers in (('corners', BoundingBox, (10, 10, 20, 30)),
                            ('COCO', CocoBoundingBox, (10, 10, 10, 20))):
  before, shifted, scaled = (kind(*numbers, image_size=(100, 200)) for _ in range(3))
  shifted.shift((50, 0))
  scaled.scale(4)
  seen[name] = before.iou(shifted), scaled.area
  print(f'{name}: values {before.values}, shifted {shifted.values}, IoU with the '
        f'former {seen[name][0]}; scaled {scaled.values}, area {scaled.area}')
  assert before.area == 200
assert seen['COCO'] == (0, 800)
assert seen['corners'] == (1, 200), 'the behaviour has changed'
print('as stated: the area and the IoU are those of the box before')
PY
