#!/usr/bin/env bash
# bio-volumentations 1.4.0: PoissonNoise adds a Poisson draw with the image as
# its mean to the image itself. What comes out is the doubled image with the
# noise of the single one: of an image that counts 10 everywhere, the mean is 20
# and the variance 10. Poisson noise, by which a count with the expectation 10
# is seen as a draw with that mean and variance, leaves the mean as it is.
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

print('bio-volumentations', importlib.metadata.version('bio-volumentations'))
np.random.seed(0)
noise = bio_volumentations.Compose([bio_volumentations.PoissonNoise(p=1)])
seen = {}
for count in (10., 100.):
  image = np.full((1, 32, 32, 32), count, np.float32)
  noisy = noise(image=image.copy())['image']
  seen[count] = noisy.mean() / count, noisy.var() / count
  print(f'image of {count}: mean {noisy.mean():.1f}, variance',
        f'{noisy.var():.1f}; by definition: mean {count}, variance {count}')
for mean, variance in seen.values():
  assert abs(mean - 2) < 0.01, 'the behaviour has changed'
  assert abs(variance - 1) < 0.05, 'the behaviour has changed'
print('as stated: the noisy image is twice as bright')
PY
