#!/usr/bin/env bash
# DICaugment 1.0.7: Rotate and ShiftScaleRotate turn a volume and its boxes. In the
# plane xy the box encloses the turned object. In the planes xz and yz the boxes are
# turned by the same angle to the other side: after 30 degrees the box of a cube of 5
# pixels has not one pixel of it. Nothing is told. A box is to follow its object in
# every plane, as the mask does.
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
inside = {}
for name, options in (('Rotate', {'limit': (30, 30)}),
                      ('ShiftScaleRotate', {'shift_limit': 0, 'scale_limit': 0,
                                            'rotate_limit': (30, 30)})):
  for plane in ('xy', 'xz', 'yz'):
    transform = dicaugment.Compose(
        [getattr(dicaugment, name)(axes=plane, p=1, **options)],
        bbox_params=dicaugment.BboxParams(format='pascal_voc_3d', label_fields=['labels']))
    result = transform(image=volume, mask=volume, bboxes=[(28, 18, 8, 33, 23, 13)], labels=[1])
    points = np.argwhere(result['image'] > 0.5)[:, [1, 0, 2]]
    assert np.array_equal(np.argwhere(result['mask'] > 0.5)[:, [1, 0, 2]], points)
    [box] = np.array(result['bboxes'], float)
    held = ((points + 0.5 > box[:3]) & (points + 0.5 < box[3:])).all(1)
    inside[name, plane] = round(float(held.mean()), 2)
    print(f'{name} in {plane}: centre of the object {points.mean(0).round(1).tolist()}, box '
          f'{box.round(1).tolist()}, part of the object in it {inside[name, plane]}')
assert len(points) > 100
for name in ('Rotate', 'ShiftScaleRotate'):
  assert inside[name, 'xy'] == 1
  assert inside[name, 'xz'] == inside[name, 'yz'] == 0, 'the behaviour has changed'
print('as stated: in two planes the boxes are turned to the other side')
PY
