#!/usr/bin/env bash
# irrCAC 0.4.4: CAC takes the list of all possible ratings as categories, counts
# in the order of that list, but makes the weights for the sorted one, so that a
# weighted coefficient depends on the order in which the same categories are
# listed. Of three raters of nine subjects, Krippendorff's alpha with
# quadratic weights is 0.7226 for 1, 2, 3, 4 and 0.3772 for 1, 3, 2, 4, as the
# ratings first appear; alpha of the interval level by definition is 0.7226.
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

print('irrCAC', importlib.metadata.version('irrCAC'))
ratings = pd.DataFrame({'a': [1, 3, 2, 3, 2, 1, 4, 1, 2],
                        'b': [1, 3, 2, 4, 2, 2, 4, 1, 2],
                        'c': [2, 3, 3, 3, 2, 3, 4, 2, 2]})
units = ratings.to_numpy(float)
pairs = lambda v: ((v[:, None] - v[None]) ** 2).sum() / (v.size - 1)
alpha = round(1 - sum(pairs(unit) for unit in units) / pairs(units.ravel()), 4)
print('alpha of the interval level by definition:', alpha)
seen = {}
for categories in (None, [1, 2, 3, 4], [1, 3, 2, 4]):
  for weights in ('identity', 'quadratic'):
    answer = CAC(ratings, weights=weights, categories=categories).krippendorff()
    seen[str(categories), weights] = round(answer['est']['coefficient_value'], 4)
    print(f'categories {categories}, {weights} weights:',
          seen[str(categories), weights])
assert alpha == seen['[1, 2, 3, 4]', 'quadratic'] == seen['None', 'quadratic']
assert len({value for key, value in seen.items() if 'identity' in key}) == 1
assert abs(seen['[1, 3, 2, 4]', 'quadratic'] - alpha) > 0.05, (
    'the behaviour has changed')
print('as stated: the coefficient depends on the order of the categories')
PY
