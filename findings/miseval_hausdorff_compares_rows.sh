#!/usr/bin/env bash
# miseval 1.3.0: evaluate(..., metric='HD') takes each row of the mask as one
# point of a space with as many axes as the mask has columns. It ignores where
# the structures lie: two pixels 7.07 pixels apart are at distance 1, and two
# masks without a common pixel are at distance 0. Such a number looks like a
# Hausdorff distance in pixels, but it is none.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'miseval==1.3.0' 'hausdorff==0.2.6' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import miseval
import numpy as np


def points(*places):
  mask = np.zeros((8, 8), int)
  mask[tuple(np.transpose(places))] = 1
  return mask


far = miseval.evaluate(points((1, 1)), points((6, 6)), metric='HD')
near = miseval.evaluate(points((1, 1)), points((1, 2)), metric='HD')
left, right = points((1, 1), (3, 3)), points((1, 3), (3, 1))
apart = miseval.evaluate(left, right, metric='HD')
dice = miseval.evaluate(left, right, metric='Dice')
print('miseval 1.3.0')
print('pixels at distance 7.07:', far)
print('pixels at distance 1:   ', near)
print('masks of Dice', dice, 'at distance 2:', apart)
assert (far, near, apart, dice) == (1, 1, 0, 0), 'the behaviour has changed'
PY
