#!/usr/bin/env bash
# crowd-kit 1.4.2: entropy_threshold is to filter out the answers of workers whose
# entropy is below a percentile, those who always click the same button. It takes
# those at the percentile too. Three workers who agree on everything, and use both
# labels equally, have the same entropy: all are removed and no answer is left. With
# a fourth, who always gives one label, they stay.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: a part of it needs transformers, which is not used here.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'attrs==26.1.0' 'nltk==3.10.4' 'pandas==3.1.1' 'scikit-learn==1.9.1' 'numpy==2.4.6'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'crowd-kit==1.4.2'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from crowdkit.metrics.data import uncertainty
from crowdkit.postprocessing import entropy_threshold
import pandas as pd

print('crowd-kit', importlib.metadata.version('crowd-kit'))
labels = ['organ', 'background'] * 5
answers = pd.DataFrame([(task, worker, label) for worker in 'ABC'
                        for task, label in enumerate(labels)],
                       columns=['task', 'worker', 'label'])
clicker = pd.DataFrame([(task, 'D', 'organ') for task in range(10)], columns=answers.columns)
entropies = uncertainty(answers, compute_by='worker', aggregate=False)
print('entropy of each worker:', {w: round(float(e), 4) for w, e in entropies.items()})
assert entropies.nunique() == 1 and entropies.min() > 0.69
seen = {}
for name, table in (('three careful workers', answers),
                    ('and one who clicks', pd.concat([answers, clicker]))):
  left = entropy_threshold(table)
  seen[name] = ''.join(sorted(left.worker.unique()))
  print(f'{name}: {len(table)} answers, left {len(left)}, of the workers '
        f'{seen[name] or None}')
assert seen['and one who clicks'] == 'ABC'
assert seen['three careful workers'] == '', 'the behaviour has changed'
print('as stated: no worker is below the threshold, and all are removed')
PY
