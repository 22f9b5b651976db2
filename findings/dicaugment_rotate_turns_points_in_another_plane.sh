#!/usr/bin/env bash
# DICaugment 1.0.7: Rotate and ShiftScaleRotate turn the keypoints of a volume in the
# plane yz where the volume is turned in xz, and in xz where it is turned in yz. After 30
# degrees the keypoint in the middle of a cube of 5 pixels is 9 to 10 pixels away from
# it. In the plane xy it stays within half a pixel, which is what a keypoint is for.
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

import dicaugment
import numpy as np

print('DICaugment', importlib.metadata.version('DICaugment'))
volume = np.zeros((41, 41, 41), 'float32')
volume[18:23, 28:33, 8:13] = 1
away = {}
for name, options in (('Rotate', {'limit': (30, 30)}),
                      ('ShiftScaleRotate', {'shift_limit': 0, 'scale_limit': 0,
                                            'rotate_limit': (30, 30)})):
  for plane in ('xy', 'xz', 'yz'):
    transform = dicaugment.Compose(
        [getattr(dicaugment, name)(axes=plane, p=1, **options)],
        keypoint_params=dicaugment.KeypointParams(format='xyz', remove_invisible=False))
    result = transform(image=volume, keypoints=[(30, 20, 10)])
    centre = np.argwhere(result['image'] > 0.5)[:, [1, 0, 2]].mean(0)
    [point] = np.array(result['keypoints'], float)
    away[name, plane] = round(float(np.linalg.norm(point - centre)), 1)
    print(f'{name} in {plane}: centre of the object {centre.round(1).tolist()}, keypoint '
          f'{point.round(1).tolist()}, {away[name, plane]} pixels away')
for name in ('Rotate', 'ShiftScaleRotate'):
  assert away[name, 'xy'] < 0.5
  assert min(away[name, 'xz'], away[name, 'yz']) > 9, 'the behaviour has changed'
assert max(away.values()) < 10
print('as stated: in two planes the keypoints leave their object')
PY
