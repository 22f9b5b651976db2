#!/usr/bin/env bash
# SimpleITK 2.5.7: STAPLEImageFilter is to return the probability of the foreground.
# Where all raters leave a mask empty, as for a patient without the lesion, it is nan in
# every voxel, without an error or a warning, and so are the sensitivities. So too where
# all raters fill the image, and for masks of 0 and 255, in which the value 1 that it
# takes for the foreground does not occur. One mask that is not empty is enough.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK as sitk

print('SimpleITK', sitk.Version_VersionString())
empty = np.zeros((6, 6), np.uint8)
lesion = empty.copy()
lesion[2:4] = 1


def staple(*masks):
  """Returns the probabilities of the first column, and the sensitivities."""
  rater = sitk.STAPLEImageFilter()
  found = rater.Execute([sitk.GetImageFromArray(mask) for mask in masks])
  return sitk.GetArrayFromImage(found)[:, 0], rater.GetSensitivity()


found = {
    title: staple(*masks) for title, masks in (
        ('a lesion, twice', (lesion, lesion)), ('one lesion of two', (empty, lesion)),
        ('empty, twice', (empty, empty)), ('full, twice', (empty + 1, empty + 1)),
        ('0 and 255', (lesion * 255, lesion * 255)))}
for title, (probability, sensitivity) in found.items():
  print(f'{title:17} probability {probability} sensitivity {sensitivity}')
np.testing.assert_array_equal(found['a lesion, twice'][0], lesion[:, 0])
np.testing.assert_allclose(found['one lesion of two'][0], lesion[:, 0] / 2)
for title in ('empty, twice', 'full, twice', '0 and 255'):
  assert np.isnan(found[title][0]).all() and np.isnan(found[title][1]).all(), (
      'the behaviour has changed')
PY
