#!/usr/bin/env bash
# safetensors 0.8.0: safetensors.numpy writes the memory of an array as it lies,
# and does not look at its strides. A transposed weight (as of a network brought
# from torch to JAX) and any array in Fortran order come back with their values
# in other places, without an error; the guide asks for contiguous arrays, and
# safetensors.torch refuses others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'safetensors==0.8.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

weight = np.arange(6, dtype=np.float32).reshape(2, 3)
arrays = {'as made': weight, 'transposed': weight.T,
          'Fortran order': np.asfortranarray(weight)}
safetensors_numpy.save_file(arrays, 'a.safetensors')
again = safetensors_numpy.load_file('a.safetensors')
print('safetensors', safetensors.__version__)
for name, array in arrays.items():
  print(f'{name}: {array.tolist()} -> {again[name].tolist()}')
assert (again['as made'] == weight).all()
assert again['transposed'].tolist() == [[0, 1], [2, 3], [4, 5]]
assert again['Fortran order'].tolist() == [[0, 3, 1], [4, 2, 5]], (
    'the behaviour has changed')
PY
