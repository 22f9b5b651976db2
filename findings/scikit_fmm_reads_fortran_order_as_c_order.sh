#!/usr/bin/env bash
# scikit-fmm 2025.6.23: distance and travel_time read the memory of an array as if it were
# in C order. The same numbers in Fortran order, as nibabel gives a volume or as .T of an
# array is, have other distances, and nothing is told: within 5 voxels of a sphere in a
# volume of 24 x 20 x 16 the distances in C order are right within 0.21, and those in
# Fortran order are off by up to 5.51. A copy in C order is right again, and a speed in
# Fortran order changes the travel times.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'scikit-fmm==2025.6.23' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import skfmm

print('scikit-fmm', importlib.metadata.version('scikit-fmm'))
z, y, x = np.indices((24, 20, 16))
sphere = np.sqrt((z - 13.0) ** 2 + (y - 9) ** 2 + (x - 7) ** 2) - 6
near = np.abs(sphere) < 5
fortran = np.asfortranarray(sphere)
error = {}
for name, array in (('C order', sphere), ('Fortran order', fortran),
                    ('C copy of it', np.ascontiguousarray(fortran))):
  assert np.array_equal(array, sphere)
  error[name] = round(float(np.abs(skfmm.distance(array) - sphere)[near].max()), 2)
  print(f'{name}: largest error of the distance {error[name]}')
speed = 1 + x / 8
times = [skfmm.travel_time(sphere, np.array(speed, order=order)) for order in 'CF']
apart = round(float(np.abs(times[0] - times[1]).max()), 2)
print(f'travel times with the speed in C and in Fortran order: up to {apart} apart')
assert error['C order'] == error['C copy of it'] == 0.21
assert error['Fortran order'] == 5.51, 'the behaviour has changed'
assert apart == 4.49
print('as stated: distances of an array in Fortran order are wrong')
PY
