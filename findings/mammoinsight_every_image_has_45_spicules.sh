#!/usr/bin/env bash
# mammoinsight-math 0.1.1: radon_spicule_features is to count the spicules of a lesion, as
# 'n_spicules' and 'spicule_density'. It projects the image along 180 angles, and counts the
# angles whose peak is above a percentile of the 180 peaks themselves, 75 unless told
# otherwise. That is a quarter of them for any image: a smooth ellipse, a star with eight
# spicules and random noise all have 45 spicules and a density of 0.25.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'mammoinsight-math==0.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import importlib.util

import numpy as np


# The import of the whole package needs scikit-learn, requests and pandas, which it does not
# declare; the one module does not.
def load(name):
  place = importlib.metadata.distribution('mammoinsight-math').locate_file(f'mammo_math/{name}.py')
  spec = importlib.util.spec_from_file_location('module', place)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


print('mammoinsight-math', importlib.metadata.version('mammoinsight-math'))
features = load('features/advanced_features')
rows, columns = np.ogrid[-31.5:32, -31.5:32]
circle = rows ** 2 + columns ** 2 < 30 ** 2
smooth = (rows / 12) ** 2 + (columns / 16) ** 2 <= 1
star = smooth.copy()
for angle in np.arange(8) * np.pi / 4 + 0.1:
  along = rows * np.sin(angle) + columns * np.cos(angle)
  across = rows * np.cos(angle) - columns * np.sin(angle)
  star |= (along >= 0) & (along <= 28) & (abs(across) <= 0.8)
noise = np.random.default_rng(0).random((64, 64)) * circle
found = {name: features.radon_spicule_features(image.astype(float))
         for name, image in (('ellipse', smooth), ('star', star), ('noise', noise))}
for name, values in found.items():
  print(f'{name}: n_spicules', values['n_spicules'], 'spicule_density', values['spicule_density'])
assert {(v['n_spicules'], v['spicule_density']) for v in found.values()} == {(45, 0.25)}, (
    'the behaviour has changed')
print('as stated: a quarter of the angles, whatever the image shows')
PY
