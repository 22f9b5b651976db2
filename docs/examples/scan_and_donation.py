"""Many steps in one program by `jax.lax.scan`, without a copy of the state.

Each call runs an epoch on all devices. The state is donated (`donate_argnums`),
so that the new state overwrites its memory. Never read a donated array again,
and do not donate an array that is in the state twice: a separate copy of the
parameters, such as that of a mean teacher, must start as `jnp.copy`.
"""

import hybridseg
import jax
import jax.numpy as jnp
import optax

NUM, BATCH = 640, 64  # BATCH is a multiple of the number of devices.
EVERYWHERE = jax.sharding.PartitionSpec()
COLUMNS = jax.sharding.PartitionSpec(None, 'batch')
optimizer = optax.adam(1e-2)


def losses_fn(params, x, y):
  """Returns one loss per example, [B]."""
  logits = jax.nn.relu(x @ params[0]) @ params[1]
  return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def make_data(key, num):
  x = jax.random.normal(key, (num, 2))
  return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def init(key):
  params = [jax.random.normal(key, (2, 32)), jnp.zeros((32, 2))]
  return params, optimizer.init(params), hybridseg.init_indicators(NUM)


def make_epoch(noisy, clean):
  """Returns a function (carry, ids [steps, B]) -> (carry, losses [steps])."""

  def step(carry, ids):
    params, opt_state, state = carry
    results = hybridseg.indicator_value_and_grad(
        lambda p: losses_fn(p, *(a[ids] for a in noisy)),
        lambda p: jnp.mean(losses_fn(p, *clean)), params, state, ids,
        step_size=0.1, learning_rate=0.1, axis_name='batch')
    updates, opt_state = optimizer.update(results.grads, opt_state)
    params = optax.apply_updates(params, updates)
    return (params, opt_state, results.state), results.loss

  return jax.jit(jax.shard_map(
      lambda carry, ids: jax.lax.scan(step, carry, ids),
      mesh=jax.sharding.Mesh(jax.devices(), 'batch'),
      in_specs=(EVERYWHERE, COLUMNS), out_specs=EVERYWHERE), donate_argnums=0)


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 4)
  (x, truth), clean = make_data(keys[0], NUM), make_data(keys[1], BATCH)
  is_wrong = jnp.arange(NUM) % 10 < 3
  epoch = make_epoch((x, jnp.where(is_wrong, 1 - truth, truth)), clean)
  carry = init(keys[2])
  for key in jax.random.split(keys[3], 6):
    ids = jax.random.permutation(key, NUM).reshape(-1, BATCH)
    carry, losses = epoch(carry, ids)  # The old carry must not be read again.
  auroc = hybridseg.metrics.auroc(1 - carry[2].weights, is_wrong)
  print(f'{jnp.mean(losses):.3f} is the loss of the last epoch.')
  print(f'AUROC of the indicators against the wrong labels: {auroc:.3f}')
  return dict(auroc=auroc)


if __name__ == '__main__':
  main()
