#!/usr/bin/env bash
# jax-metrics 0.2.5: Mean takes sample weights, and counts their sum in uint32 after
# each batch, so that its fraction is dropped, while the weighted values keep theirs. Of
# values 2 and 4, weights of 0.9 each give a mean of 5.4, weights of 1.5 and 0.3 give
# 4.2 in place of 2.33, and weights of 0.3 each infinity. Whole weights are right. The
# mean of a loss by soft masks or class weights is off by a part of a weight each batch.
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
values = jnp.array([2., 4.])
found, true = [], []
for weights in ([1, 1], [2, 1], [0.9, 0.9], [1.5, 0.3], [0.3, 0.3]):
  found.append(jm.metrics.Mean().update(
      values=values, sample_weight=jnp.array(weights, jnp.float32)).compute())
  true.append(np.average(values, weights=weights))
  print(weights, 'Mean:', found[-1], 'weighted mean:', round(true[-1], 3))
np.testing.assert_allclose(found[:2], true[:2])
np.testing.assert_allclose(found[2:4], [5.4, 4.2], rtol=1e-5)
assert np.isinf(found[4]), 'the behaviour has changed'
PY
