#!/usr/bin/env bash
# jax2onnx 0.17.1: flax.linen.Conv takes the function that convolves as its
# field conv_general_dilated. The converter replaces the layer by a convolution
# of its own and does not look at the field: the ONNX model computes something
# else, without a warning. Here the given function doubles the result, and the
# outputs of the two models differ by a factor of 2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jax2onnx==0.17.1' 'jax==0.10.2' 'jaxlib==0.10.2' 'flax==0.12.8' 'onnxruntime==1.27.0'
cd "$work"
"$work/venv/bin/python" - <<'PY' 2> "$work/log" || { cat "$work/log" >&2; exit 1; }
import importlib.metadata

import flax.linen as nn
import jax
from jax import lax
import jax2onnx
import numpy as np
import onnxruntime


def doubled(*args, **options):
  return 2 * lax.conv_general_dilated(*args, **options)


net = nn.Conv(4, (3, 3), use_bias=False, conv_general_dilated=doubled)
plain = nn.Conv(4, (3, 3), use_bias=False)
images = np.random.default_rng(0).random((1, 8, 8, 3), np.float32)
params = net.init(jax.random.key(0), images)
expected = np.asarray(net.apply(params, images))
np.testing.assert_allclose(expected, 2 * plain.apply(params, images), rtol=1e-5)

model = jax2onnx.to_onnx(lambda x: net.apply(params, x), [(1, 8, 8, 3)])
session = onnxruntime.InferenceSession(model.SerializeToString())
(name,) = [i.name for i in session.get_inputs()]
(converted,) = session.run(None, {name: images})
print('jax2onnx', importlib.metadata.version('jax2onnx'))
print('of flax:', expected.ravel()[:3])
print('of ONNX:', converted.ravel()[:3])
np.testing.assert_allclose(2 * converted, expected, rtol=1e-4, atol=1e-5)
PY
