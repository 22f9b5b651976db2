#!/usr/bin/env bash
# optax 0.2.8: adadelta takes complex parameters, as of a learned reconstruction
# of MRI data, without an error, but its step points along the real axis: of the
# gradient 3 + 4i it keeps hardly any of the 4i. adam, rmsprop, radam, novograd
# and lamb keep the direction, and sm3 refuses such parameters.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'optax==0.2.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import jax.numpy as jnp
import numpy as np
import optax

parameters, gradient = jnp.array([1 + 1j]), jnp.array([3 + 4j])
ratio = {}
print('optax', optax.__version__, 'first step for the gradient 3 + 4i:')
for name in ('adam', 'rmsprop', 'radam', 'novograd', 'lamb', 'adadelta'):
  optimizer = getattr(optax, name)(0.1)
  step = np.asarray(optimizer.update(
      gradient, optimizer.init(parameters), parameters)[0])[0]
  ratio[name] = float(step.imag / step.real)
  print(f'{name:9} {step:.3g} imaginary / real: {ratio[name]:.3g}')
assert all(abs(value - 4 / 3) < 1e-3
           for name, value in ratio.items() if name != 'adadelta')
assert abs(ratio['adadelta']) < 1e-3, 'the behaviour has changed'
PY
