#!/usr/bin/env bash
# bio-volumentations 1.4.0: Resize documents that a Gaussian filter is applied
# before down-sampling, which is on unless told otherwise. Its test for it is
# the wrong way round, so that only enlarged images are filtered. Planes of 0
# and 1 in turn, brought from 16 to 5 planes, come out as 0.1, 0.7, 0.5, 0.3 and
# 0.9, just as without the filter: a pattern that the image does not have. With
# the filter, scikit-image, which it calls, gives 0.5 everywhere.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'bio-volumentations==1.4.0' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'simpleitk==2.5.7'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import bio_volumentations
import numpy as np
from skimage import transform

print('bio-volumentations', importlib.metadata.version('bio-volumentations'))
assert ('Apply the Gaussian filter before down-sampling'
        in bio_volumentations.Resize.__doc__), 'the documentation has changed'
image = np.zeros((16, 16, 16), np.float32)
image[::2] = 1


def resized(**options):
  resize = bio_volumentations.Resize(shape=(5, 5, 5), p=1, **options)
  sample = bio_volumentations.Compose([resize])(image=image[None].copy())
  return [round(v, 2) for v in sample['image'][0, :, 2, 2].tolist()]


right = transform.resize(image, (5, 5, 5), order=1,
                         anti_aliasing=True)[:, 2, 2].tolist()
seen = [resized(), resized(anti_aliasing_downsample=False)]
print('planes 0 and 1 in turn, 16 to 5:', seen[0])
print('without the filter:             ', seen[1])
print('scikit-image with its filter:   ', [round(v, 2) for v in right])
assert all(abs(v - 0.5) < 0.01 for v in right)
assert seen[0] == seen[1] == [0.1, 0.7, 0.5, 0.3, 0.9], (
    'the behaviour has changed')
print('as stated: the image is not filtered before it is made smaller')
PY
