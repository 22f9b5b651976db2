#!/usr/bin/env bash
# grand-challenge-metrics 0.6.0, the metrics of the challenge platform: its
# accuracies_from_confusion_matrix divides with rounding down, so that the
# accuracy of a class is 1 if no pixel at all is wrong in it and else 0. Of
# 10000 pixels with one confused, the accuracies are 0, 0 and 1; by its
# docstring and the definition, (true positives + true negatives) / all pixels,
# they are 0.9999, 0.9999 and 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'grand-challenge-metrics==0.6.0' 'numpy==2.4.6' 'scipy==1.17.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from grand_challenge_metrics import stats
import numpy as np

print('grand-challenge-metrics',
      importlib.metadata.version('grand-challenge-metrics'))
truth = np.zeros((100, 100), int)
truth[20:40, 20:40], truth[60:80, 60:80] = 1, 2
answer = truth.copy()
answer[20, 20] = 0
matrix = stats.calculate_confusion_matrix(truth, answer, [0, 1, 2])
found = stats.accuracies_from_confusion_matrix(matrix).tolist()
right = [np.mean((truth == k) == (answer == k)).item() for k in range(3)]
print('1 of 10000 pixels is confused, class 0 for class 1')
print('accuracies:    ', found)
print('by definition: ', right)
print('Dice:          ', stats.dice_from_confusion_matrix(matrix).tolist())
assert right == [0.9999, 0.9999, 1]
assert found == [0, 0, 1], 'the behaviour has changed'
print('as stated: the accuracies are 0 or 1')
PY
