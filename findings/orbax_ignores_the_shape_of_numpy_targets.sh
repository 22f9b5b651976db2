#!/usr/bin/env bash
# orbax-checkpoint 0.11.36 restores into a tree of targets. Where a target is a
# jax array of another shape than the stored one, it raises an error; where the
# target is a numpy array, it returns the stored shape without a word, so that
# the weights of a network for 4 classes get into one for 2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'orbax-checkpoint==0.11.36' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import os

import jax.numpy as jnp
import numpy as np
from orbax import checkpoint

folder = os.path.abspath('saved')
saver = checkpoint.StandardCheckpointer()
saver.save(folder, {'head': np.arange(4, dtype=np.float32)})
saver.wait_until_finished()
try:
  with_jax = saver.restore(folder, {'head': jnp.zeros(2)})
except ValueError as e:
  with_jax = f'ValueError: {str(e)[:70]}...'
with_numpy = saver.restore(folder, {'head': np.zeros(2, np.float32)})
print('orbax-checkpoint', checkpoint.__version__)
print('target jnp.zeros(2):', with_jax)
print('target np.zeros(2): ', with_numpy)
assert isinstance(with_jax, str)
assert with_numpy['head'].shape == (4,), 'the behaviour has changed'
PY
