#!/usr/bin/env bash
# bbox 0.9.4: iou_3d takes the z coordinate of the centre of a box for its upper
# face, so that it is right only where both boxes have the same height. A box of
# height 2 inside one of height 4, over the same 2 x 2 ground, has an IoU of 0.5:
# iou_3d gives 0.2 where the small one is at the top, and 0.5 at the bottom. Two
# boxes of height 1 and 2 whose true IoU is 0.0345 get 0.25.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'bbox==0.9.4' 'pyquaternion==0.9.9' 'numpy==1.26.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from bbox import BBox3D
from bbox.metrics import iou_3d

print('bbox', importlib.metadata.version('bbox'))


def box(z, height):
  return BBox3D(0, 0, z, 2, 2, height, euler_angles=[0, 0, 0])


def true_iou(first, second):
  ends = [(corners[:, 2].min(), corners[:, 2].max())
          for corners in (first.p, second.p)]
  shared = 4 * max(0, min(top for _, top in ends) - max(low for low, _ in ends))
  return float(shared / (4 * (first.h + second.h) - shared))


seen = {}
for first, second in (((0, 2), (0.5, 2)), ((1, 2), (0, 4)), ((-1, 2), (0, 4)),
                      ((5, 2), (0, 10)), ((0, 1), (1.4, 2))):
  seen[first, second] = float(iou_3d(box(*first), box(*second)))
  right = true_iou(box(*first), box(*second))
  print(f'centre {first[0]} height {first[1]}, centre {second[0]} height '
        f'{second[1]}: iou_3d {seen[first, second]}, from the corners {right:.4f}')
  if first[1] == second[1]:
    assert abs(seen[first, second] - right) < 1e-5
assert seen[(1, 2), (0, 4)] == 0.2 and seen[(-1, 2), (0, 4)] == 0.5
assert seen[(0, 1), (1.4, 2)] == 0.25, 'the behaviour has changed'
print('as stated: the IoU of boxes of two heights is wrong')
PY
