#!/usr/bin/env bash
# affine-image 0.1.0: affine_transform_3d is an alternative to torch's affine_grid
# and grid_sample, without corners aligned unless told otherwise. It divides each
# axis by the size of the opposite one: the identity returns a cube as it is, and
# any other volume changed. A ramp of 0 to 7 along the last axis of 4 x 6 x 8
# voxels becomes 0, 0.58, 1.75 ... 6.42, 7, steeper in its middle by a sixth; one
# of 0 to 3 along the first becomes 0.21 to 3. With align_corners=True both stay.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'affine-image==0.1.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import affine_image
import numpy as np


def identity(image, **options):
  """Returns the volume under the identity."""
  return affine_image.affine_transform_3d(
      image[None, None], np.eye(3, 4)[None], image.shape, **options)[0, 0]


print('affine-image', importlib.metadata.version('affine-image'))
cube = np.random.default_rng(0).random((8, 8, 8))
assert np.allclose(identity(cube), cube)
volume = np.broadcast_to(np.arange(8.), (4, 6, 8))
assert np.allclose(identity(volume, align_corners=True), volume)
found = identity(volume, padding='border')[2, 3]
print('last axis: ', volume[2, 3], '->', np.round(found, 2))
first = np.broadcast_to(np.arange(4.)[:, None, None], (4, 6, 8))
other = identity(first, padding='border')[:, 3, 3]
print('first axis:', first[:, 3, 3], '->', np.round(other, 2))
np.testing.assert_allclose(np.diff(found)[1:6], 7 / 6)
np.testing.assert_allclose(other[[0, -1]], [3 / 14, 3])
print('as stated: the identity changes a volume that is no cube')
PY
