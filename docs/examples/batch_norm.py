"""BatchNorm with the statistics of the global batch, and running statistics.

The running statistics, used in prediction, are not parameters. The loss returns
them as aux, and a step updates them once. The layer takes the name of the axis.
"""

from flax import nnx
import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

BATCH = 64  # A multiple of the number of devices.
ROWS, EVERYWHERE = (jax.sharding.PartitionSpec(*a) for a in (('batch',), ()))


class Classifier(nnx.Module):

  def __init__(self, rngs, axis_name):
    self.hidden = nnx.Linear(2, 32, rngs=rngs)
    self.norm = nnx.BatchNorm(32, axis_name=axis_name, rngs=rngs)
    self.output = nnx.Linear(32, 2, rngs=rngs)

  def __call__(self, x):
    return self.output(nnx.relu(self.norm(self.hidden(x))))


def make_data(key, num):
  x = jax.random.normal(key, (num, 2))
  return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def losses_fn(graphdef, params, stats, x, y):
  """Returns one loss per example, [B], and the statistics after this batch."""
  model = nnx.merge(graphdef, params, stats, copy=True)
  losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
  return losses, nnx.state(model, nnx.BatchStat)


def make_train_step(graphdef):

  def train_step(params, stats, state, clean, noisy, ids):
    results = hybridseg.indicator_value_and_grad(
        lambda p: losses_fn(graphdef, p, stats, *noisy),
        lambda p: (jnp.mean(losses_fn(graphdef, p, stats, *clean)[0]), None),
        params, state, ids, step_size=0.1, learning_rate=0.1, has_aux=True,
        axis_name='batch')
    params = jax.tree.map(lambda p, g: p - 0.3 * g, params, results.grads)
    return params, results.aux[0], results.state  # Those of the noisy batch.

  return jax.jit(jax.shard_map(
      train_step, mesh=jax.sharding.Mesh(jax.devices(), 'batch'),
      in_specs=(EVERYWHERE,) * 3 + (ROWS,) * 3, out_specs=EVERYWHERE))


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 3)
  (x, truth), clean, test = map(make_data, keys, (640, BATCH, 1000))
  is_wrong = jnp.arange(640) % 10 < 3
  y = jnp.where(is_wrong, 1 - truth, truth)
  graphdef, *carry = nnx.split(
      Classifier(nnx.Rngs(seed), 'batch'), nnx.Param, nnx.BatchStat)
  carry += [hybridseg.init_indicators(640)]
  train_step = make_train_step(graphdef)
  for step in range(80):
    ids = np.random.default_rng(step).permutation(640)[:BATCH]
    carry = train_step(*carry, clean, (x[ids], y[ids]), ids)
  model = nnx.merge(graphdef, *carry[:2])
  model.eval()  # Use the running statistics.
  accuracy = float(jnp.mean(model(test[0]).argmax(-1) == test[1]))
  auroc = hybridseg.metrics.auroc(1 - carry[2].weights, is_wrong)
  print(f'Test accuracy {accuracy:.3f}, AUROC of the indicators {auroc:.3f}')
  return dict(accuracy=accuracy, auroc=auroc)


if __name__ == '__main__':
  main()
