"""The same weights under jit, vmap, pmap, shard_map, scan and remat.

The task is classification of eight examples with a plain pytree, once in each
way. Within a mapped axis, the library needs only the name of that axis. The
script prints the largest difference from the plain call, and uses all devices.
"""

import functools

import hybridseg
import jax
import jax.numpy as jnp
import optax

NUM = 8  # A multiple of the number of devices.
ROWS, EVERYWHERE = (jax.sharding.PartitionSpec(*a) for a in (('batch',), ()))


def losses_fn(params, x, y):
  logits = jnp.tanh(x @ params['hidden']) @ params['output']
  return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def slopes(params, weak, clean, *, losses_fn=losses_fn, axis_name=None):
  return hybridseg.lookahead_weight_grads(
      lambda p: losses_fn(p, *weak), lambda p: jnp.mean(losses_fn(p, *clean)),
      params, jnp.zeros(len(weak[0])), step_size=0.1, axis_name=axis_name)


def train_step(params, weak, clean):
  """Takes a training step with normalised weights, which changes the slopes."""
  weights = hybridseg.l2rw_weights(slopes(params, weak, clean))
  grads = jax.grad(lambda p: jnp.sum(weights * losses_fn(p, *weak)))(params)
  return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)


def main(seed: int = 0) -> dict[str, float]:
  x, clean_x, hidden, output = (jax.random.normal(key, (NUM, NUM)) for key in
                                jax.random.split(jax.random.key(seed), 4))
  params = {'hidden': hidden, 'output': output}
  weak, clean = (x, (x[:, 0] > 0.5).astype(int)), (
      clean_x, (clean_x[:, 0] > 0).astype(int))
  args, plain = (params, weak, clean), slopes(params, weak, clean)
  mesh = jax.sharding.Mesh(jax.devices(), 'batch')
  shards = hybridseg.parallel.shard_batch((weak, clean), mesh.size)
  on_shards = functools.partial(slopes, axis_name='batch')
  two = jax.tree.map(lambda a: jnp.stack([a, a]), args)
  later = functools.reduce(lambda p, _: train_step(p, weak, clean), range(5),
                           params)
  scanned, _ = jax.lax.scan(
      lambda p, _: (train_step(p, weak, clean), None), params, length=5)
  remat = functools.partial(slopes, losses_fn=jax.checkpoint(losses_fn))
  mapped = jax.shard_map(on_shards, mesh=mesh, out_specs=ROWS,
                         in_specs=(EVERYWHERE, ROWS, ROWS))
  results = {
      'jit': (jax.jit(slopes)(*args), plain),
      'vmap over problems': (jax.vmap(slopes)(*two)[1], plain),
      'pmap': (jax.pmap(on_shards, 'batch', in_axes=(None, 0, 0))(
          params, *shards).reshape(-1), plain),
      'shard_map': (jax.jit(mapped)(*args), plain),
      'scan over steps': (slopes(scanned, weak, clean),
                          slopes(later, weak, clean)),
      'remat': (jax.jit(remat)(*args), plain)}
  differences = {name: float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b)))
                 for name, (a, b) in results.items()}
  for name, difference in differences.items():
    print(f'{name}: relative difference {difference:.1e}')
  return differences


if __name__ == '__main__':
  main()
