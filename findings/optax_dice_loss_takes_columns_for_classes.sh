#!/usr/bin/env bash
# optax 0.2.8: dice_loss documents binary masks of shape [...] beside [..., 1].
# Of masks of shape (batch, height, width) it takes each column of pixels for a
# class, and a softmax over each row for the probabilities, without an error: a
# training minimizes another quantity. binary_dice_loss takes both shapes alike.
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

logits = jax.random.normal(jax.random.key(0), (2, 4, 4))
masks = (jax.random.uniform(jax.random.key(1), (2, 4, 4)) < 0.4).astype(float)
plain = optax.losses.dice_loss(logits, masks)
channel = optax.losses.dice_loss(logits[..., None], masks[..., None])
binary = optax.losses.binary_dice_loss(logits, masks)
of_columns = optax.losses.dice_loss(
    jax.nn.softmax(logits), masks, apply_softmax=False)
print('optax', optax.__version__)
print('binary_dice_loss, (2, 4, 4):', binary)
print('dice_loss, (2, 4, 4, 1):    ', channel)
print('dice_loss, (2, 4, 4):       ', plain)
np.testing.assert_allclose(channel, binary, rtol=1e-5)
np.testing.assert_allclose(plain, of_columns, rtol=1e-5)
assert abs(plain - channel).max() > 0.1, 'the behaviour has changed'
PY
