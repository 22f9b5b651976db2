#!/usr/bin/env bash
# orbax-checkpoint 0.11.36 stores an array under the names on its path joined by
# dots, and does not look whether two paths give one name. Of {'a.b': x, 'a':
# {'b': y}} (flat names as of torch beside nested ones, as while weights are
# being brought over) one array overwrites the other, and both read back as that
# one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'orbax-checkpoint==0.11.36' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import os

import numpy as np
from orbax import checkpoint

folder = os.path.abspath('saved')
tree = {'a.b': np.ones(3), 'a': {'b': np.zeros(3)}}
saver = checkpoint.StandardCheckpointer()
saver.save(folder, tree)
saver.wait_until_finished()
again = saver.restore(folder)
print('orbax-checkpoint', checkpoint.__version__)
print('saved:   ', tree)
print('restored:', again)
assert (again['a.b'] == again['a']['b']).all(), 'the behaviour has changed'
PY
