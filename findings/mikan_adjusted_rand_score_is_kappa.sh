#!/usr/bin/env bash
# mikan-rs 0.1.4: the Rand index is the share of pairs of voxels on which two labelings
# agree, together or apart, and the adjusted one corrects it by chance. mikan puts the
# counts of voxels in place of those of pairs: its RandIndex is the accuracy, and its
# adjust_rand_score is Cohen's kappa. Where 252 of the 336 voxels of an organ are found,
# among 6000, the Rand index is 0.9724 and mikan has 0.986, and the adjusted one is 0.8368
# and mikan has 0.8499. Where 1500 of 3000 are found it is 0.2499, and mikan has 0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mikan-rs==0.1.4' 'simpleitk==2.5.7' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
from math import comb

from mikan.metrics import ArrayEvaluator
import numpy as np

print('mikan-rs', importlib.metadata.version('mikan-rs'))


def pairs(counts):
  return sum(comb(int(count), 2) for count in np.ravel(counts))


seen = {}
for name, organ, found in (('336 of 6000', 336, 252), ('3000 of 6000', 3000, 1500)):
  truth, prediction = np.zeros((2, 10, 20, 30), 'uint8')
  truth.flat[:organ] = 1
  prediction.flat[:found] = 1
  table = np.array([[np.count_nonzero((truth == t) & (prediction == p)) for p in (0, 1)]
                    for t in (0, 1)])
  together, of_truth, of_prediction = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
  total = comb(truth.size, 2)
  rand = (total + 2 * together - of_truth - of_prediction) / total
  chance = of_truth * of_prediction / total
  adjusted = (together - chance) / ((of_truth + of_prediction) / 2 - chance)
  names = ['RandIndex', 'accuracy', 'adjust_rand_score', 'kappa']
  values = ArrayEvaluator(truth, prediction, (1, 1, 1)).labels(1).metrics(names)
  seen[name] = [round(float(value), 4) for value in (rand, adjusted, *values)]
  print(f'{name}, {found} found: Rand index {rand:.4f}, adjusted {adjusted:.4f}; of mikan:',
        dict(zip(names, seen[name][2:], strict=True)))
assert seen['336 of 6000'][:2] == [0.9724, 0.8368]
assert seen['3000 of 6000'][:2] == [0.6249, 0.2499]
assert seen['336 of 6000'][2:] == [0.986, 0.986, 0.8499, 0.8499], 'the behaviour has changed'
assert seen['3000 of 6000'][2:] == [0.75, 0.75, 0.5, 0.5]
print('as stated: the Rand index is the accuracy, and the adjusted one is kappa')
PY
