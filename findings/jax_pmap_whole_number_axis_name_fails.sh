#!/usr/bin/env bash
# jax 0.10.2: an axis name may be any hashable object, and jax.vmap takes the
# number 0 or 1 for one. jax.pmap takes it for the position of an axis and fails
# where it drops the mapped axis, also if nothing in the function uses the name;
# the error speaks of squeezing. Code that numbers its axes cannot go from vmap
# to pmap.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
export XLA_FLAGS=--xla_force_host_platform_device_count=2
"$work/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp

x = jnp.arange(6.0).reshape(2, 3)
print('jax', jax.__version__, 'devices', len(jax.devices()))
for name in ('i', ('i', 0), 0, 1):
  assert jax.vmap(lambda row: 2 * row, axis_name=name)(x).shape == (2, 3)
  try:
    found = str(jax.pmap(lambda row: 2 * row, axis_name=name)(x).shape)
  except ValueError as error:
    found = f'ValueError: {error}'
  print(f'pmap(axis_name={name!r}): {found}')
  is_number = isinstance(name, int)
  assert found.startswith('ValueError') == is_number, 'the behaviour has changed'
  assert ('squeeze' in found) == is_number, 'the behaviour has changed'
PY
