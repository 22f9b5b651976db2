#!/usr/bin/env bash
# clu 0.0.12: Average, and with it Accuracy, counts the values in int32. Once
# 2**31 pixels are merged, 32768 masks of 256 x 256, the count wraps around and
# becomes negative: the accuracy of answers that are right in every pixel is -1,
# without a warning. The mean of numbers that are all 1 is 1, and up to one
# batch before, clu says so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'clu==0.0.12' 'flax==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from clu import metrics
import jax.numpy as jnp

print('clu', importlib.metadata.version('clu'))
masks, side = 256, 256
batch = metrics.Average.from_model_output(jnp.ones((masks, side, side)))
seen, total = {}, None
for number in range(1, 129):
  total = batch if total is None else total.merge(batch)
  seen[number * masks] = float(total.compute())
for number in (masks, 127 * masks, 128 * masks):
  print(f'{number:5} masks, each pixel right: mean {seen[number]}')
print('count of pixels:', int(total.count), 'and not', 128 * masks * side**2)
assert seen[masks] == seen[127 * masks] == 1
assert seen[128 * masks] == -1, 'the behaviour has changed'
print('as stated: the mean of 2**31 ones is -1')
PY
