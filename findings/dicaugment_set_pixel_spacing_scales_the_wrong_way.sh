#!/usr/bin/env bash
# DICaugment 1.0.7: SetPixelSpacing is to resample an image so that its pixel spacing
# is the one that was asked for, which takes the old spacing over the new one times as
# many pixels. It takes the new one over the old one: a slice of 20 x 30 pixels of
# 0.5 mm, 10 mm x 15 mm, becomes one of 40 x 60 pixels of 1 mm, 40 mm x 60 mm. A square
# of 4 mm has a side of 16 mm.
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
image = np.zeros((20, 30, 4), 'float32')
image[6:14, 8:16] = 1
seen = {}
for spacing in (0.5, 1.0):
  header = {'PixelSpacing': (0.5, 0.5), 'RescaleSlope': 1, 'RescaleIntercept': 0}
  transform = dicaugment.Compose([dicaugment.SetPixelSpacing(spacing, spacing)])
  result = transform(image=image, dicom=header)
  volume, step = result['image'], result['dicom']['PixelSpacing']
  side = np.count_nonzero(volume[volume.shape[0] // 2, :, 0] > 0.5) * step[1]
  seen[spacing] = volume.shape, step, side
  print(f'asked for {spacing} mm: {volume.shape[0]} x {volume.shape[1]} pixels of {step[0]} mm, '
        f'{volume.shape[0] * step[0]} mm x {volume.shape[1] * step[1]} mm, square of {side} mm')
assert seen[0.5] == ((20, 30, 4), (0.5, 0.5), 4)
assert seen[1.0] == ((40, 60, 4), (1, 1), 16), 'the behaviour has changed'
print('as stated: the image is four times as large as before')
PY
