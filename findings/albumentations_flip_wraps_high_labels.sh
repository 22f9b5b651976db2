#!/usr/bin/env bash
# albumentations 2.0.8: HorizontalFlip moves pixels and should not change their
# values, but a mask of int64 comes back as int32, without a warning. Ids of
# instances above 2147483647, as they occur in large volumes of electron
# microscopy, are wrapped: 2147483649 becomes -2147483647, and 8589934599
# becomes 7, where it is merged with another instance. VerticalFlip, Rotate and
# Pad do the same. Transpose and RandomCrop keep the type, so that it depends on
# the draw of the augmentation whether the ids are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'albumentations==2.0.8' 'opencv-python-headless==5.0.0.93' 'numpy==2.2.6'
cd "$work"
NO_ALBUMENTATIONS_UPDATE=1 "$work/venv/bin/python" -W error - <<'PY'
import albumentations as A
import numpy as np

print('albumentations', A.__version__)
image = np.zeros((20, 20, 3), np.uint8)
mask = np.zeros((20, 20), np.int64)
mask[2:5, 2:5], mask[2:5, 9:15], mask[9:15, 5:11] = 7, 2**33 + 7, 2**31 + 1
high = np.unique(mask).tolist()
print('ids of the mask:', high)
seen = {}
for step in (
    A.Transpose(p=1), A.RandomCrop(20, 20, p=1), A.HorizontalFlip(p=1),
    A.VerticalFlip(p=1), A.Rotate((90, 90), p=1), A.Pad(2, p=1)):
  name = type(step).__name__
  result = A.Compose([step])(image=image, mask=mask)['mask']
  seen[name] = np.unique(result).tolist()
  print(f'{name}: {result.dtype} {seen[name]}')
assert seen.pop('Transpose') == seen.pop('RandomCrop') == high
for ids in seen.values():
  assert ids == [-2**31 + 1, 0, 7], 'the behaviour has changed'
print('as stated: flips wrap the ids')
PY
