#!/usr/bin/env bash
# iaa-kit 0.1.2: weighted_kappa counts how many labels apart two ratings are in the
# order of the labels, but sorts them as text, so that 10 comes between 1 and 2. Two
# raters who differ once between 9 and 10 on a scale of 1 to 10 have a quadratic
# kappa of 0.2242 in place of 0.9879. The same ratings less 1, on a scale of 0 to 9,
# have 0.9879.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'iaa-kit==0.1.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from iaa_kit import weighted_kappa
import numpy as np

print('iaa-kit', importlib.metadata.version('iaa-kit'))
first = np.arange(1, 11)
second = np.array([1, 2, 3, 4, 5, 6, 7, 8, 10, 9])
# One less the mean squared difference of the pairs over that of all combinations.
right = 1 - ((first - second) ** 2).mean() / ((first[:, None] - second) ** 2).mean()
print(f'quadratic kappa by its definition: {right:.4f}')
seen = {}
for name, shift in (('1 to 10', 0), ('0 to 9', 1)):
  seen[name] = weighted_kappa((first - shift).tolist(), (second - shift).tolist(), 'quadratic')
  print(f'iaa-kit, scale of {name}: {seen[name]:.4f}')
assert abs(seen['0 to 9'] - right) < 1e-12 and round(float(right), 4) == 0.9879
assert round(seen['1 to 10'], 4) == 0.2242, 'the behaviour has changed'
print('as stated: a scale that reaches 10 has another kappa')
PY
