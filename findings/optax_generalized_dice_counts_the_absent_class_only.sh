#!/usr/bin/env bash
# optax 0.2.8: multiclass_generalized_dice_loss weighs a class by 1 / (its
# pixels squared + 1e-7) over the batch. A class that no pixel of the batch has,
# common with small patches and rare organs, gets all of the weight: where the
# two other classes are exchanged in each pixel, the loss is 0, as of a perfect
# answer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'optax==0.2.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
import optax

labels = jnp.zeros((1, 8, 8), int).at[:, 4:].set(1)


def loss(answer, classes):
  return float(optax.losses.multiclass_generalized_dice_loss(
      100 * jax.nn.one_hot(answer, classes), jax.nn.one_hot(labels, classes)))


print('optax', optax.__version__)
two, three = loss(1 - labels, 2), loss(1 - labels, 3)
print('all wrong, 2 classes:                     ', two)
print('all wrong, 3 classes, the third is absent:', three)
print('all right, 3 classes:                     ', loss(labels, 3))
assert two > 0.9 and three < 1e-6, 'the behaviour has changed'
PY
