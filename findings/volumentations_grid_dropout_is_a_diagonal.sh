#!/usr/bin/env bash
# volumentations-3D 1.0.4: GridDropout promises holes in a grid fashion, with a
# number of grid units for each of the three axes. It places a hole along the
# third axis by the counter of another, so that all holes lie in one diagonal
# plane: of 4 x 4 x 4 units only 16 have a hole, and with a ratio of 0.5 the
# dropout takes 3.1 % of the voxels where 12.5 % are asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'volumentations-3D==1.0.4' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'opencv-python==5.0.0.93'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import volumentations

print('volumentations-3D', importlib.metadata.version('volumentations-3D'))
words = ' '.join(volumentations.GridDropout.__doc__.split())
assert 'in a grid fashion' in words and (
    'holes_number_z (int): the number of grid units in z direction' in words), (
        'the documentation has changed')
change = volumentations.GridDropout(
    ratio=0.5, holes_number_x=4, holes_number_y=4, holes_number_z=4, p=1)
image = np.ones((32, 32, 32), np.float32)
dropped = volumentations.Compose([change], p=1)(image=image)['image'] == 0
units = dropped.reshape(4, 8, 4, 8, 4, 8).sum((1, 3, 5))
print('grid units with a hole of 4 x 4 x 4 voxels:', (units == 64).sum(), 'of',
      units.size)
print(f'dropped: {100 * dropped.mean():.1f} % of the voxels;',
      f'a ratio of 0.5 asks for {100 * 0.5 ** 3:.1f} %')
places = {tuple(place) for place in np.argwhere(units)[:, ::2].tolist()}
print('units of the first and the third axis with a hole:', sorted(places))
assert places == {(k, k) for k in range(4)}, 'the behaviour has changed'
assert (units == 64).sum() == 16 and dropped.sum() == 1024
print('as stated: the holes lie in a diagonal plane')
PY
