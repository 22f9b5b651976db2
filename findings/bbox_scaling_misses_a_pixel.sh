#!/usr/bin/env bash
# bbox 0.9.4: a BBox2D keeps its last pixel, and multiplies the numbers of the first
# and the last pixel to scale the box, so that the sides do not scale: a box of 10
# x 10 at (0, 0) times 2 is 19 x 19, and times 0.5 it is 5.5 x 5.5. Times 2 and then
# times 0.5 it is 10 x 10 again. Two boxes side by side that share no pixel have a
# gap of one after they are doubled. BBox2DList does the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'bbox==0.9.4' 'pyquaternion==0.9.9' 'numpy==1.26.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from bbox import BBox2D
from bbox import BBox2DList

print('bbox', importlib.metadata.version('bbox'))
box = BBox2D([0, 0, 10, 10])
right = BBox2D([10, 0, 10, 10])
seen = {}
for factor in (1, 2, 0.5):
  seen[factor] = (box * factor).numpy().tolist()
  print(f'x, y, width and height times {factor}:', seen[factor])
  assert (BBox2DList([box]) * factor).numpy().tolist() == [seen[factor]]
gap = (right * 2).x1 - (box * 2).x2 - 1
print('pixels between two boxes that touch, after doubling:', gap)
assert seen[1] == [0, 0, 10, 10] and right.x1 - box.x2 - 1 == 0 and gap == 1
assert seen[2] == [0, 0, 19, 19] and seen[0.5] == [0, 0, 5.5, 5.5], (
    'the behaviour has changed')
print('as stated: the sides do not scale by the factor')
PY
