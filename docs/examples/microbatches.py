"""A batch that does not fit in memory, computed part by part.

The slopes of each part alone would solve another problem. Here the losses of
the whole batch are computed part by part, and again in each backward pass, so
that memory holds the activations of one part at a time. The numbers are those
of the whole batch. For slopes alone, `lookahead_weight_grads` has
`num_microbatches`.
"""

import hybridseg
import jax
import jax.numpy as jnp
import numpy as np
import optax

NUM, BATCH = 640, 64


def losses_fn(params, x, y):
  """Returns one loss per example, [B]."""
  logits = jax.nn.relu(x @ params[0]) @ params[1]
  return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def make_data(key, num):
  x = jax.random.normal(key, (num, 2))
  return x, (x[:, 0] * x[:, 1] > 0).astype(int)


def init(key):
  return [jax.random.normal(key, (2, 512)) / 2, jnp.zeros((512, 2))]


def in_parts(x, y, num_parts):
  """Returns a function that maps params to the losses of all examples, [B]."""
  parts = hybridseg.parallel.shard_batch((x, y), num_parts)
  parts_fn = hybridseg.microbatches.over_microbatches(
      lambda p, i: losses_fn(p, *(a[i] for a in parts)), num_parts)
  return lambda params: parts_fn(params).reshape(-1)


def make_train_step(num_parts):

  def train_step(params, state, clean, noisy, ids):
    results = hybridseg.indicator_value_and_grad(
        in_parts(*noisy, num_parts),
        lambda p: jnp.mean(in_parts(*clean, num_parts)(p)),
        params, state, ids, step_size=0.1, learning_rate=0.1)
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, results.grads)
    return params, results.state

  return jax.jit(train_step)


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 3)
  (x, truth), clean = make_data(keys[0], NUM), make_data(keys[1], BATCH)
  is_wrong = jnp.arange(NUM) % 10 < 3
  y = jnp.where(is_wrong, 1 - truth, truth)
  params, state = init(keys[2]), hybridseg.init_indicators(NUM)
  args = clean, (x[:BATCH], y[:BATCH]), jnp.arange(BATCH)
  steps = [make_train_step(num).lower(params, state, *args).compile()
           for num in (1, 8)]  # Compiled here, to measure their memory.
  whole, parts = (s.memory_analysis().temp_size_in_bytes for s in steps)
  for step in range(60):
    ids = np.random.default_rng(step).permutation(NUM)[:BATCH]
    params, state = steps[1](params, state, clean, (x[ids], y[ids]), ids)
  auroc = hybridseg.metrics.auroc(1 - state.weights, is_wrong)
  print(f'Memory of a step: {whole:,} bytes whole, {parts:,} in 8 parts')
  print(f'AUROC of the indicators against the wrong labels: {auroc:.3f}')
  return dict(auroc=auroc, share=parts / whole)


if __name__ == '__main__':
  main()
