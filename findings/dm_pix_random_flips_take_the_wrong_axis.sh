#!/usr/bin/env bash
# dm-pix 0.4.5: random_flip_left_right and random_flip_up_down say that the
# image may be HWC or CHW, but they always flip as for HWC. A CHW image is
# turned upside down by the first, and the second exchanges its channels (red
# and blue, or the sequences of an MRI) and moves no pixel. flip_left_right and
# flip_up_down have the option channel_axis and are right with it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dm-pix==0.4.5' 'chex==0.1.92' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np

print('dm-pix', importlib.metadata.version('dm-pix'))
image = jnp.arange(3 * 4 * 5.).reshape(3, 4, 5)  # channels, rows, columns
key = jax.random.key(0)
seen = {}
for name in ('flip_left_right', 'flip_up_down'):
  drawn = getattr(dm_pix, f'random_{name}')
  assert '...HWC or ...CHW' in ' '.join(drawn.__doc__.split()), (
      'the documentation has changed')
  flipped = drawn(key, image, probability=1.)
  plain = getattr(dm_pix, name)(image, channel_axis=0)
  seen[name] = [axis for axis in range(3) if np.array_equal(
      flipped, np.flip(image, axis))]
  right = [axis for axis in range(3) if np.array_equal(
      plain, np.flip(image, axis))]
  print(f'random_{name} of a CHW image: axis {seen[name]} flipped;',
        f'{name} with channel_axis=0: axis {right}')
  assert right == {'flip_left_right': [2], 'flip_up_down': [1]}[name]
assert seen == {'flip_left_right': [1], 'flip_up_down': [0]}, (
    'the behaviour has changed')
print('as stated: rows and channels are flipped')
PY
