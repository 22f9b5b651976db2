#!/usr/bin/env bash
# confidenceinterval 1.0.5: the intervals of macro recall and precision are to come from
# the delta method, from the covariance diag(p) - p p^T. p p^T is computed as the
# squares of p, and the derivative of each diagonal entry lacks its class total. Two
# classes of 980 and 20 cases with recalls of 0.9184 and 0.1 have a macro recall of
# 0.5092 with a standard error of 0.0338, as two independent binomials have it and the
# delta method too. The interval of the package is 0.4812 to 0.5372, as of a standard
# error of 0.0143; one of its own bootstrap is more than twice as wide.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: it asks for one version of setuptools, which it does not import.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'scikit-learn==1.9.1' 'scipy==1.17.1' 'pandas==3.1.1' 'numpy==2.4.6' 'statsmodels==0.15.0'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'confidenceinterval==1.0.5'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

from confidenceinterval import recall_score
import numpy as np

print('confidenceinterval', importlib.metadata.version('confidenceinterval'))
counts = np.array([[900, 80], [18, 2]])
truth = np.repeat([0, 0, 1, 1], counts.ravel())
found = np.repeat([0, 1, 0, 1], counts.ravel())
totals = counts.sum(1)
recalls = np.diag(counts) / totals
binomials = np.sqrt((recalls * (1 - recalls) / totals).sum()) / 2
# The delta method: of each entry of the matrix, what the macro recall gains by it.
gains = (np.eye(2) - recalls[:, None]) / (totals / totals.sum())[:, None] / 2
p = counts / counts.sum()
delta = np.sqrt(((gains**2 * p).sum() - (gains * p).sum() ** 2) / counts.sum())
value, (low, high) = recall_score(truth, found, average='macro')
_, (boot_low, boot_high) = recall_score(
    truth, found, average='macro', method='bootstrap_percentile', n_resamples=300,
    random_state=np.random.RandomState(0))
error = (high - low) / 2 / 1.959964
print(f'macro recall {value:.4f}; standard error of two binomials {binomials:.4f}, by the delta '
      f'method {delta:.4f}')
print(f'interval {low:.4f} to {high:.4f}, as of a standard error of {error:.4f}; by the '
      f'bootstrap {boot_low:.4f} to {boot_high:.4f}')
assert abs(value - recalls.mean()) < 1e-12
assert round(float(binomials), 4) == round(float(delta), 4) == 0.0338
assert 2 < (boot_high - boot_low) / (high - low) < 3
assert round(float(error), 4) == 0.0143, 'the behaviour has changed'
print('as stated: the interval is less than half as wide as it is to be')
PY
