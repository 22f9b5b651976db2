#!/usr/bin/env bash
# jax-metrics 0.2.5: Accuracy documents ignore_index as a class that "does not
# contribute to the returned score, regardless of reduction method". The number is
# checked and kept, and nothing looks at it. Of ten pixels, six of background, all right,
# and four of two organs, one right, the accuracy is 0.7 with and without ignore_index=0,
# in place of 0.25, and by average='macro' it is 0.5 with and without.
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
assert 'this class index does not contribute' in jm.metrics.Accuracy.__doc__, (
    'the documentation has changed')
truth = jnp.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
found = jnp.array([0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
for average, true in (('micro', 0.7), ('macro', 0.5)):
  scores = [float(jm.metrics.Accuracy(
      num_classes=3, average=average, ignore_index=ignored).update(
          preds=found, target=truth).compute()) for ignored in (None, 0)]
  print(f'{average}: all classes {scores[0]:.3f}, without class 0 {scores[1]:.3f}')
  np.testing.assert_allclose(scores, [true, true], rtol=1e-6)
organs = truth > 0
print('of the organs alone:', np.mean(found[organs] == truth[organs]))
assert np.mean(found[organs] == truth[organs]) == 0.25
PY
