#!/usr/bin/env bash
# DICaugment 1.0.7: RandomRotate90 turns the boxes of a volume with it, but in the plane
# xz one number of the box is wrong. After one turn the box has z_min for its last
# slice, here 0.2 slices in place of 6, and after three turns its ends are swapped, so
# that Compose drops it with its label and says nothing. The image is turned right, and
# in the planes xy and yz every box encloses its object.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: two of them are not imported here. pkg_resources is, and
# only setuptools before 81 has it.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'scipy==1.17.1' 'pydicom==3.0.1' 'PyYAML==6.0.3' 'numpy==2.4.6' 'setuptools==65.5.0' 'typing_extensions==4.16.0'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'DICaugment==1.0.7'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata
import random
from unittest import mock

import dicaugment
import numpy as np

print('DICaugment', importlib.metadata.version('DICaugment'))
volume = np.zeros((12, 16, 20), 'int16')
volume[2:5, 3:9, 4:6] = 1
box = (3, 2, 4, 9, 5, 6)
seen = {}
for plane in ('xy', 'yz', 'xz'):
  for turns in range(4):
    transform = dicaugment.Compose(
        [dicaugment.RandomRotate90(axes=plane, p=1)],
        bbox_params=dicaugment.BboxParams(format='pascal_voc_3d', label_fields=['labels']))
    with mock.patch.object(random, 'randint', return_value=turns):
      result = transform(image=volume, bboxes=[box], labels=[1])
    points = np.argwhere(result['image'])[:, [1, 0, 2]]
    true = [*points.min(0).tolist(), *(points.max(0) + 1).tolist()]
    boxes = [[round(float(number), 6) for number in found] for found in result['bboxes']]
    assert len(result['labels']) == len(boxes)
    seen[plane, turns] = boxes, true
    if plane == 'xz' or boxes != [true]:
      print(f'{plane}, {turns} turns: object {true}, boxes {boxes}')
wrong = [key for key, (boxes, true) in seen.items() if boxes != [true]]
assert wrong == [('xz', 1), ('xz', 3)], 'the behaviour has changed'
assert seen['xz', 1] == ([[14, 2, 3, 16, 5, 3.2]], [14, 2, 3, 16, 5, 9])
assert seen['xz', 3] == ([], [4, 2, 7, 6, 5, 13])
print('as stated: boxes turned in the plane xz are wrong or lost')
PY
