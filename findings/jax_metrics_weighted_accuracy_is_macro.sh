#!/usr/bin/env bash
# jax-metrics 0.2.5: Accuracy documents average='weighted', the mean of the classes by
# their support, and average='none', the score of every class. Both are replaced by
# 'macro' without a warning. Of classes with 6, 2 and 2 pixels and accuracies of 1, 0.5
# and 0, 'weighted' gives 0.5 in place of 0.7, and 'none' gives the single number 0.5
# in place of three.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jax-metrics==0.2.5' 'jax==0.10.2' 'jaxlib==0.10.2' 'optax==0.2.8' 'simple-pytree==0.2.2' 'einops==0.8.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import jax.numpy as jnp
import jax_metrics as jm
import numpy as np

print('jax-metrics', importlib.metadata.version('jax-metrics'))
for promise in ('weighting each class by its support', 'the metric for every class'):
  assert promise in jm.metrics.Accuracy.__doc__, 'the documentation has changed'
truth = jnp.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
found = jnp.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
classes = [float((found[truth == k] == k).mean()) for k in range(3)]
print('accuracy of the classes:', classes, 'by support:',
      round(np.average(classes, weights=[6, 2, 2]), 3))
for average in ('macro', 'weighted', 'none'):
  score = jm.metrics.Accuracy(num_classes=3, average=average).update(
      preds=found, target=truth).compute()
  print(f'{average:8}', score, 'of shape', score.shape)
  assert score.shape == () and abs(score - 0.5) < 1e-6, 'the behaviour has changed'
PY
