#!/usr/bin/env bash
# augmax 0.4.1: RandomSizedCrop with prevent_underzoom, which is on unless told
# otherwise, promises not to zoom beyond the size of the image. It compares the
# logarithm of the needed zoom with a zoom, so that it prevents nothing: of 200
# crops of 80 pixels from images of 100 pixels, 55 lie to more than 5 % outside,
# one of them to 59 %, and are filled with zeros, which a mask takes for
# background. The needed zoom is 80 / 100 = 0.8; the range stays at 0.5 to 2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'augmax==0.4.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import augmax
import jax
import jax.numpy as jnp
import numpy as np

print('augmax', importlib.metadata.version('augmax'))
assert ('whether to prevent zooming beyond the image size'
        in augmax.RandomSizedCrop.__doc__), 'the documentation has changed'
image = jnp.ones((100, 100, 1))
keys = jax.random.split(jax.random.key(0), 200)


def outside(**options):
  """Returns the share of each crop that lies outside of the image."""
  crop = jax.jit(augmax.RandomSizedCrop(80, **options))
  return np.array([float((crop(key, image) == 0).mean()) for key in keys])


seen = {}
for least in (0.5, 0.81):
  share = outside(zoom_range=(least, 2.), prevent_underzoom=True)
  seen[least] = int((share > 0.05).sum()), share.max()
  print(f'zoom from {least}: {seen[least][0]} of 200 crops are to more than 5 %',
        f'outside, at most {100 * seen[least][1]:.0f} %')
assert seen[0.81][0] == 0
assert seen[0.5][0] > 20 and seen[0.5][1] > 0.5, 'the behaviour has changed'
print('as stated: the zoom goes beyond the size of the image')
PY
