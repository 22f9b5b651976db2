#!/usr/bin/env bash
# crackle-codec 0.55.0: CrackleArray is sliced like an array of numpy, but in
# labels[..., k] the index k counts for the second and for the third axis,
# without an error: of a slice of the volume, one row comes back. labels[:, :,
# k] is right, and so is an ellipsis in the middle.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'crackle-codec==0.55.0' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import crackle
import numpy as np

volume = np.random.default_rng(0).integers(0, 9, (3, 4, 5)).astype(np.uint8)
labels = crackle.CrackleArray(crackle.compress(volume))
found = labels[..., 2]
print('crackle-codec 0.55.0')
print('numpy  [..., 2]:  ', volume[..., 2].shape)
print('crackle[:, :, 2]: ', labels[:, :, 2].shape)
print('crackle[:, ..., 2]:', labels[:, ..., 2].shape)
print('crackle[..., 2]:  ', found.shape)
assert (labels[:, :, 2] == volume[..., 2]).all()
assert (labels[:, ..., 2] == volume[..., 2]).all()
assert found.shape == (3, 1) and (found[:, 0] == volume[:, 2, 2]).all(), (
    'the behaviour has changed')
PY
