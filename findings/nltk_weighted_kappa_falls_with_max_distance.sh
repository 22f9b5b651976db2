#!/usr/bin/env bash
# nltk 3.10.4: weighted_kappa of an AnnotationTask takes max_distance, the largest
# distance of two labels, by which the observed and the expected disagreement are
# divided, so that it cancels. It reaches the expected one only: two coders who differ
# by at most 1 on a scale of 1 to 5 have a quadratic kappa of 0.8555 (as of
# scikit-learn), and with max_distance=16, which is (5 - 1)^2, one of -1.3121.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'nltk==3.10.4' 'scikit-learn==1.9.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from nltk.metrics.agreement import AnnotationTask
from nltk.metrics.distance import interval_distance
from sklearn.metrics import cohen_kappa_score

print('nltk', importlib.metadata.version('nltk'))
first = [1, 2, 3, 3, 2, 1, 5, 4, 2, 4]
second = [1, 3, 3, 2, 2, 1, 4, 4, 1, 5]
assert max(abs(a - b) for a, b in zip(first, second, strict=True)) == 1
task = AnnotationTask(
    [(coder, item, label) for coder, labels in (('a', first), ('b', second))
     for item, label in enumerate(labels)], distance=interval_distance)
right = round(float(cohen_kappa_score(first, second, weights='quadratic')), 4)
print('quadratic kappa of scikit-learn:', right)
seen = {}
for largest in (1, 4, 16):
  seen[largest] = round(task.weighted_kappa(max_distance=largest), 4)
  print(f'nltk, max_distance={largest}: {seen[largest]}')
assert right == seen[1] == 0.8555
assert (seen[4], seen[16]) == (0.422, -1.3121), 'the behaviour has changed'
print('as stated: the weighted kappa depends on max_distance')
PY
