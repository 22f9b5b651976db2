#!/usr/bin/env bash
# batchgenerators 0.25.5: the random crop never takes the last possible place
# along an axis, since the upper end of its draw is left out. Of 2000 crops of 4
# voxels from 10, the first voxel is in 335 and the last in none; a volume one
# voxel longer than the crop is not cropped at random at all, and its last slice
# is never trained on.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'batchgenerators==0.25.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from batchgenerators.augmentations import crop_and_pad_augmentations
import numpy as np

print('batchgenerators', importlib.metadata.version('batchgenerators'))


def times(length):
  """Returns in how many of 2000 crops of 4 voxels each voxel of a line is."""
  np.random.seed(0)
  data = np.tile(np.arange(length)[None, None, :, None], (1, 1, 1, 4))
  seen = np.zeros(length, int)
  for _ in range(2000):
    result, _ = crop_and_pad_augmentations.crop(data, crop_size=(4, 4),
                                                crop_type='random')
    seen[result[0, 0, :, 0]] += 1
  return seen.tolist()


ten, five = times(10), times(5)
print('crops of 4 that show each of 10 voxels:', ten)
print('crops of 4 that show each of 5 voxels: ', five)
assert ten[0] > 200
assert ten[-1] == 0 and five == [2000] * 4 + [0], 'the behaviour has changed'
print('as stated: the last voxel is in no crop')
PY
