#!/usr/bin/env bash
# irrCAC 0.4.4: CAC of raw ratings gives the two-sided p-value of the t statistic
# for Gwet's AC1, Fleiss' and Conger's kappa and Krippendorff's alpha, but the
# one-sided one for the Brennan-Prediger coefficient. Of two raters of 20
# subjects with 14 equal ratings, the Brennan-Prediger coefficient has z = 1.9024
# with p = 0.0362, and Fleiss' kappa z = 1.8597 with p = 0.0785: only the former
# passes for significant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'irrCAC==0.4.4' 'numpy==1.26.4' 'scipy==1.12.0' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from irrCAC.raw import CAC
import pandas as pd
from scipy import stats

print('irrCAC', importlib.metadata.version('irrCAC'))
first = [1] * 10 + [2] * 10
second = [1] * 8 + [2] * 2 + [2] * 6 + [1] * 4
ratings = pd.DataFrame({'a': first, 'b': second})
ratios = {}
for name in ('gwet', 'fleiss', 'conger', 'krippendorff', 'bp'):
  answer = getattr(CAC(ratings), name)()['est']
  z, p_value = float(answer['z']), float(answer['p_value'])
  two_sided = 2 * stats.t.sf(abs(z), len(ratings) - 1)
  ratios[name] = round(p_value / two_sided, 3)
  print(f'{name}: z {z:.4f}, p-value {p_value:.4f}, two-sided {two_sided:.4f}')
assert ratios.pop('bp') == 0.5, 'the behaviour has changed'
assert set(ratios.values()) == {1}
print('as stated: the p-value of Brennan-Prediger is half that of the others')
PY
