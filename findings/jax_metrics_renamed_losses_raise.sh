#!/usr/bin/env bash
# jax-metrics 0.2.5: rename_arguments of a loss documents a call by the new names, as
# loss(y_true=y, y_pred=logits) after rename_arguments(target="y_true", ...), which
# raises a KeyError: 'target' is expected. With the map the other way round, the names
# are mapped twice, and the second time 'y_true' is expected, so that no loss can be
# renamed at all. A renamed metric of the same package takes the new names.
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

print('jax-metrics', importlib.metadata.version('jax-metrics'))
loss = jm.losses.MeanSquaredError()
assert 'loss = crossentropy_loss(y_true=y, y_pred=logits)' in (
    loss.rename_arguments.__doc__), 'the documentation has changed'
truth, found = jnp.zeros((3, 2)), jnp.ones((3, 2))
print('target, preds:', loss(target=truth, preds=found))
assert loss(target=truth, preds=found) == 1
for names in ({'target': 'y_true', 'preds': 'y_pred'},
              {'y_true': 'target', 'y_pred': 'preds'}):
  try:
    value = loss.rename_arguments(**names)(y_true=truth, y_pred=found)
  except KeyError as error:
    print(names, 'KeyError:', error)
  else:
    raise AssertionError(f'the behaviour has changed: {value}')
renamed = jm.metrics.Mean().rename_arguments(values='numbers')
print('a renamed metric:', renamed.update(numbers=found).compute())
PY
