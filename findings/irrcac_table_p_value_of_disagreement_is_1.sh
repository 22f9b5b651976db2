#!/usr/bin/env bash
# irrCAC 0.4.4: CAC of a table of two raters computes the p-value of Scott's pi,
# Gwet's AC1, Brennan-Prediger and Krippendorff's alpha from z and not from its
# size, so that it is 1 for every negative coefficient. Of 40 subjects, of whom
# two raters rate 35 differently, Scott's pi is -0.7511 at z = -7.2: its p-value
# is 1 from the table and 1.4e-08 from the raw ratings (CAC of irrCAC.raw).
# Cohen's kappa of the same table has a p-value that is rounded to 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'irrCAC==0.4.4' 'numpy==1.26.4' 'scipy==1.12.0' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from irrCAC import raw
from irrCAC import table
import numpy as np
import pandas as pd

print('irrCAC', importlib.metadata.version('irrCAC'))
counts = {(1, 1): 2, (1, 2): 18, (2, 1): 17, (2, 2): 3}
pairs = [pair for pair, count in counts.items() for _ in range(count)]
ratings = pd.DataFrame(pairs, columns=['a', 'b'])
square = pd.crosstab(ratings.a, ratings.b)
print(square.to_string())
seen = {}
for name, same in (('cohen', 'conger'), ('scott', 'fleiss'), ('gwet', 'gwet'),
                   ('bp', 'bp'), ('krippendorff', 'krippendorff')):
  from_table = getattr(table.CAC(square), name)()['est']
  from_raw = getattr(raw.CAC(ratings), same)()['est']
  value, z, p_value = (float(np.squeeze(from_table[key]))
                       for key in ('coefficient_value', 'z', 'p_value'))
  seen[name] = p_value
  print(f"{name}: {value:.4f}, z {z:.1f}, p-value {p_value:.2g}; "
        f"from raw ratings {float(from_raw['coefficient_value']):.4f}, "
        f"p-value {float(from_raw['p_value']):.2g}")
  assert value < -0.5 and float(from_raw['p_value']) < 1e-6
assert seen.pop('cohen') < 1e-6
assert min(seen.values()) > 0.999, 'the behaviour has changed'
print('as stated: the p-value from the table is 1 for a strong disagreement')
PY
