"""Data on all devices under a plain `jax.jit`, whose compiler splits the step.

There is no axis name to pass, because the program is that of one device.
`linearize_per_instance` keeps the gradient of every picture of the batch.
Slopes and training gradient are computed from these, without a second pass. The
task is to find the masks of discs in noise that lie beside their disc.
"""

import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

NUM, BATCH = 64, 32  # BATCH is a multiple of the number of devices.
MESH = jax.sharding.Mesh(jax.devices(), 'batch')
ROWS, EVERYWHERE = (jax.sharding.NamedSharding(
    MESH, jax.sharding.PartitionSpec(*axes)) for axes in (('batch',), ()))


def make_discs(key, num):
  """Returns pictures, float [N, 16, 16, 1], and masks, int [N, 16, 16]."""
  keys = jax.random.split(key)
  centre = jax.random.uniform(keys[0], (num, 1, 1, 2), minval=4, maxval=12)
  pixels = jnp.stack(jnp.mgrid[:16, :16], axis=-1)[None]
  masks = jnp.linalg.norm(pixels - centre, axis=-1) < 3
  noise = jax.random.normal(keys[1], masks.shape)
  return (masks + 0.5 * noise)[..., None], masks.astype(int)


def init(key):
  return [jax.random.normal(key, (3, 3, 1, 8)) / 3, jnp.zeros((3, 3, 8, 2))]


def losses_fn(params, images, masks):
  """Returns one loss per picture, [B]."""
  conv = lambda x, kernel: jax.lax.conv_general_dilated(
      x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  logits = conv(jax.nn.relu(conv(images, params[0])), params[1])
  return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, masks), (1, 2))


@jax.jit
def train_step(params, state, exact, weak, ids):
  exact_fn = lambda p: jnp.mean(losses_fn(p, *exact))
  linear = hybridseg.linearization.linearize_per_instance(
      lambda p, one: losses_fn(p, *(a[None] for a in one))[0], params, weak)
  slopes = hybridseg.linear_weight_grads(
      linear, exact_fn, params, state.weights[ids], step_size=0.1)
  state = hybridseg.update_indicators(
      state, ids, hybridseg.weighting.unit_rms(slopes), learning_rate=0.1)
  grads = jax.tree.map(jnp.add, jax.grad(exact_fn)(params),
                       linear.weighted_grads(state.weights[ids] / BATCH))
  return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), state


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 3)
  (images, masks), exact = make_discs(keys[0], NUM), make_discs(keys[1], 16)
  masks = masks.at[:16].set(jnp.roll(masks[:16], 5, axis=2))
  carry = jax.device_put((init(keys[2]), hybridseg.init_indicators(NUM)),
                         EVERYWHERE)
  for step in range(30):
    ids = np.random.default_rng(step).permutation(NUM)[:BATCH]
    batch = jax.device_put((exact, (images[ids], masks[ids]), ids), ROWS)
    carry = train_step(*carry, *batch)
  auroc = hybridseg.metrics.auroc(1 - carry[1].weights, jnp.arange(NUM) < 16)
  print(f'AUROC of the indicators against the wrong masks: {auroc:.3f}')
  return dict(auroc=auroc)


if __name__ == '__main__':
  main()
