#!/usr/bin/env bash
# pybboxes 0.2.0: is_oob, which tells whether a box is out of the bounds of the
# image, is False for a CocoBoundingBox that begins left of or above the image,
# up to one that lies wholly outside, because only its right and its lower end are
# compared. The same boxes with corners (BoundingBox) give True.
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

from pybboxes import CocoBoundingBox

print('pybboxes', importlib.metadata.version('pybboxes'))
seen = {}
for place, numbers in {'inside': (40, 40, 10, 10), 'left': (-5, 40, 10, 10),
                       'above': (40, -5, 10, 10), 'right': (95, 40, 10, 10),
                       'wholly to the left': (-50, 40, 10, 10)}.items():
  box = CocoBoundingBox(*numbers, image_size=(100, 100), strict=False)
  seen[place] = box.is_oob, box.to_voc().is_oob
  print(f'{place} {numbers}: is_oob {box.is_oob}, with corners {box.to_voc().is_oob}')
assert seen['inside'] == (False, False) and seen['right'] == (True, True)
for place in ('left', 'above', 'wholly to the left'):
  assert seen[place] == (False, True), 'the behaviour has changed'
print('as stated: a COCO box left of or above the image is not out of bounds')
PY
