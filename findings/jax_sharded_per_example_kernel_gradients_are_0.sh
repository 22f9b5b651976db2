#!/usr/bin/env bash
# jax 0.10.2: the gradients of a convolution's kernel for each example, by vmap
# of grad under a plain jax.jit, are exactly 0 beyond the first shard when the
# batch is split over devices. The same program on one device is right. Whoever
# weights or clips single examples on several devices loses all but the first
# device's, without an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
cd "$work"
export XLA_FLAGS=--xla_force_host_platform_device_count=4
"$work/venv/bin/python" - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

images = jnp.asarray(
    np.random.default_rng(0).normal(size=(8, 6, 6, 1)), jnp.float32)
kernel = jnp.ones((3, 3, 1, 2))

def loss(kernel, image):
  out = jax.lax.conv_general_dilated(
      image[None], kernel, (1, 1), 'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  return jnp.sum(out ** 2)

@jax.jit
def squared_norms(kernel, images):
  grads = jax.vmap(jax.grad(loss), (None, 0))(kernel, images)
  return jnp.sum(grads ** 2, axis=(1, 2, 3, 4))

mesh = Mesh(np.array(jax.devices()), 'batch')
place = lambda x, *axes: jax.device_put(
    x, NamedSharding(mesh, PartitionSpec(*axes)))
one = np.asarray(squared_norms(kernel, images))
four = np.asarray(squared_norms(place(kernel), place(images, 'batch')))
print('jax', jax.__version__, 'devices', len(jax.devices()))
print('one device:  ', one)
print('four devices:', four)
assert (one > 0).all() and np.allclose(one[:2], four[:2])
assert (four[2:] == 0).all(), 'the behaviour has changed'
PY
