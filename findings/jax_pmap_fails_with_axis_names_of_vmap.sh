#!/usr/bin/env bash
# jax 0.10.2: its documentation lets an axis name be any hashable object, and
# jax.vmap takes them all. jax.pmap works with strings alone, also if nothing in
# the function uses the name: a number is taken for the position of an axis, a
# tuple for several axes, anything else fails in the compiler's mesh. Code that
# names its axes by numbers or pairs cannot go from vmap to pmap, and no error
# says why.
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
expected = {
    'i': '(2, 3)',
    frozenset('i'): 'TypeError: get(): incompatible function arguments',
    0: 'ValueError: cannot select an axis to squeeze',
    ('i', 0): 'ValueError: Resource axis: i'}
for name, start in expected.items():
  assert jax.vmap(lambda row: 2 * row, axis_name=name)(x).shape == (2, 3)
  try:
    found = str(jax.pmap(lambda row: 2 * row, axis_name=name)(x).shape)
  except (TypeError, ValueError) as error:
    found = f'{type(error).__name__}: {error}'
  print(f'pmap(axis_name={name!r}): {found.splitlines()[0]}')
  assert found.startswith(start), 'the behaviour has changed'
PY
