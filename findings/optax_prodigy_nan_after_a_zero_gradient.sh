#!/usr/bin/env bash
# optax 0.2.8: one gradient of 0 at the first step, such as that of a batch in
# which no pixel is annotated, makes all parameters nan for good with prodigy
# and with dadapt_adamw of optax.contrib, which divide their estimates of a
# distance by 0. adam waits for the next gradient, as one would expect.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'optax==0.2.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import jax.numpy as jnp
import optax

print('optax', optax.__version__)
last = {}
for name, optimizer in (
    ('adam', optax.adam(0.1)), ('prodigy', optax.contrib.prodigy()),
    ('dadapt_adamw', optax.contrib.dadapt_adamw())):
  parameters = jnp.array([1.0, 2.0])
  state = optimizer.init(parameters)
  for gradient in (jnp.zeros(2), jnp.ones(2), jnp.ones(2)):
    updates, state = optimizer.update(gradient, state, parameters)
    parameters = optax.apply_updates(parameters, updates)
  last[name] = parameters
  print(f'{name:13}', parameters)
assert jnp.isfinite(last['adam']).all()
assert jnp.isnan(last['prodigy']).all() and jnp.isnan(
    last['dadapt_adamw']).all(), 'the behaviour has changed'
PY
