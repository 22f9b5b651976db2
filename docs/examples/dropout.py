"""Dropout in an equinox model: one key per example, the same in every pass.

Slopes and gradient of a step must belong to the same network. `instance_keys`
derives each key from the position in the global batch, on one device or many.
"""

import equinox as eqx
import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

BATCH = 64  # A multiple of the number of devices.
ROWS, EVERYWHERE = (jax.sharding.PartitionSpec(*a) for a in (('batch',), ()))


class Classifier(eqx.Module):
  hidden: eqx.nn.Linear
  dropout: eqx.nn.Dropout
  output: eqx.nn.Linear

  def __init__(self, key):
    self.hidden = eqx.nn.Linear(2, 64, key=key)
    self.dropout = eqx.nn.Dropout(0.2)
    self.output = eqx.nn.Linear(64, 2, key=jax.random.fold_in(key, 1))

  def __call__(self, x, key):
    return self.output(self.dropout(jax.nn.relu(self.hidden(x)), key=key))


def make_data(key, num):
  x = jax.random.normal(key, (num, 2))
  return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def losses_fn(model, x, y, key):
  """Returns one loss per example of this shard, [B]."""
  keys = hybridseg.train_step.instance_keys(key, len(x), axis_name='batch')
  return optax.softmax_cross_entropy_with_integer_labels(
      jax.vmap(model)(x, keys), y)


def make_train_step(static):

  def train_step(params, state, clean, noisy, ids, key):
    model, keys = eqx.combine(params, static), jax.random.split(key)
    results = hybridseg.indicator_value_and_grad(
        lambda m: losses_fn(m, *noisy, keys[0]),
        lambda m: jnp.mean(losses_fn(m, *clean, keys[1])),
        model, state, ids, step_size=0.1, learning_rate=0.1, axis_name='batch')
    updates = jax.tree.map(lambda g: -0.3 * g, results.grads)
    return eqx.apply_updates(params, updates), results.state

  return jax.jit(jax.shard_map(
      train_step, mesh=jax.sharding.Mesh(jax.devices(), 'batch'),
      in_specs=(EVERYWHERE,) * 2 + (ROWS,) * 3 + (EVERYWHERE,),
      out_specs=EVERYWHERE))


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 4)
  (x, truth), clean = make_data(keys[0], 640), make_data(keys[1], BATCH)
  is_wrong = jnp.arange(640) % 10 < 3
  y = jnp.where(is_wrong, 1 - truth, truth)
  params, static = eqx.partition(Classifier(keys[2]), eqx.is_inexact_array)
  state, train_step = hybridseg.init_indicators(640), make_train_step(static)
  for step in range(100):
    key = jax.random.fold_in(keys[3], step)
    ids = np.random.default_rng(step).permutation(640)[:BATCH]
    params, state = train_step(params, state, clean, (x[ids], y[ids]), ids, key)
  auroc = hybridseg.metrics.auroc(1 - state.weights, is_wrong)
  print(f'AUROC of the indicators against the wrong labels: {auroc:.3f}')
  return dict(auroc=auroc)


if __name__ == '__main__':
  main()
