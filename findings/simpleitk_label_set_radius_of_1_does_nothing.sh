#!/usr/bin/env bash
# SimpleITK 2.5.7: LabelSetDilate and LabelSetErode take the radius in physical
# units unless told otherwise. With a spacing of 1 mm, a radius of 3 mm and one
# of 3 pixels are the same thing, but the filters move the border of a label by
# 2 pixels for the first and by 3 for the second. A radius of 1 mm does nothing
# at all, without a warning, and so does one of 3 mm along an axis whose spacing
# is 3 mm. A safety margin of a whole number of pixels is therefore one pixel
# short.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'SimpleITK==2.5.7' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK as sitk

print('SimpleITK', sitk.Version.VersionString())
labels = np.zeros((31, 31), np.uint8)
labels[11:20, 11:20] = 1


def moves(spacing, radius, physical):
  image = sitk.GetImageFromArray(labels)
  image.SetSpacing(spacing)
  seen = []
  for function in (sitk.LabelSetDilate, sitk.LabelSetErode):
    array = sitk.GetArrayFromImage(function(image, (radius,) * 2, physical))
    size = [int((line > 0).sum()) for line in (array[15], array[:, 15])]
    seen.append([abs(side - 9) // 2 for side in size])
  return seen


for radius in (1, 2, 3):
  in_mm = moves((1.0, 1.0), radius, True)
  in_pixels = moves((1.0, 1.0), radius, False)
  print(f'spacing 1 mm, radius {radius}: dilated and eroded by {in_mm} '
        f'in physical units, by {in_pixels} in pixels')
  assert in_pixels == [[radius, radius]] * 2
  assert in_mm == [[radius - 1, radius - 1]] * 2, 'the behaviour has changed'
seen = moves((1.0, 3.0), 3, True)
print('spacing 1 and 3 mm, radius 3 mm:', seen)
assert seen == [[2, 0]] * 2, 'the behaviour has changed'
print('as stated: a radius in physical units is a pixel short')
PY
