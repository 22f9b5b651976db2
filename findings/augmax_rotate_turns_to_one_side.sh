#!/usr/bin/env bash
# augmax 0.4.1: Rotate draws its angle and whether to rotate at all from the
# same random key. With a probability of 0.5, the rotation takes place just for
# the numbers of the lower half, so that no angle of the other half of the range
# is ever drawn: of a range from -30 to 30 degrees, all images that are rotated
# are rotated to the same side. With p=1, both sides come equally often.
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
image, point = jnp.zeros((65, 65, 1)), jnp.array([[32., 52.]])


def angles(p):
  """Returns the angles in degrees of 400 draws, by way of a point."""
  turn = augmax.Chain(augmax.Rotate((-30, 30), p=p), input_types=[
      augmax.InputType.IMAGE, augmax.InputType.KEYPOINTS])
  turned = jax.jit(lambda key: turn(key, [image, point])[1][0] - 32)
  rows, columns = np.array([
      turned(key) for key in jax.random.split(jax.random.key(0), 400)]).T
  return np.degrees(np.arctan2(rows, columns))


seen = {}
for p in (1., 0.5):
  drawn = angles(p)
  seen[p] = [int((drawn < -0.01).sum()), int((drawn > 0.01).sum())]
  print(f'p={p}: of 400 images, {seen[p][0]} are turned to one side and',
        f'{seen[p][1]} to the other, from {drawn.min():.1f} to',
        f'{drawn.max():.1f} degrees')
assert min(seen[1.]) > 150
assert min(seen[0.5]) == 0 and max(seen[0.5]) > 150, (
    'the behaviour has changed')
print('as stated: with p=0.5, images are turned to one side only')
PY
