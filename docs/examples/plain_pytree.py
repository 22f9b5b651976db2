"""Ten lines in a training loop of your own: weights from a few clean examples.

The task is classification with parameters in a plain list; any pytree and any
optimiser will do. 30 % of the labels are wrong, and 32 clean examples show
which. The ten lines that an ordinary training loop does not have are between
the two comments.
"""

import hybridseg
import jax
import jax.numpy as jnp
import optax

BATCH = 50


def losses_fn(params, x, y):
  """Returns one loss per example, [B]; do not average here."""
  (w1, b1), (w2, b2) = params
  logits = jax.nn.relu(x @ w1 + b1[None]) @ w2 + b2[None]
  return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 4)
  x, clean_x = (jax.random.normal(keys[i], (n, 2)) for i, n in
                enumerate((500, 32)))
  y, clean_y = ((a[:, 0] * a[:, 1] > 0).astype(int) for a in (x, clean_x))
  is_wrong = jnp.arange(500) < 150
  y = jnp.where(is_wrong, 1 - y, y)
  init = lambda key, *shape: jax.random.normal(key, shape) * shape[0] ** -0.5
  params = [(init(keys[2], 2, 32), jnp.zeros(32)),
            (init(keys[3], 32, 2), jnp.zeros(2))]
  optimizer = optax.adam(1e-2)
  opt_state = optimizer.init(params)
  state = hybridseg.init_indicators(500)

  @jax.jit
  def train_step(params, opt_state, state, ids):
    # From here ...
    weak_losses_fn = lambda p: losses_fn(p, x[ids], y[ids])
    clean_loss_fn = lambda p: jnp.mean(losses_fn(p, clean_x, clean_y))
    slopes = hybridseg.lookahead_weight_grads(
        weak_losses_fn, clean_loss_fn, params, state.weights[ids],
        step_size=1e-2)
    state = hybridseg.update_indicators(
        state, ids, hybridseg.weighting.unit_rms(slopes), learning_rate=0.05)
    loss_fn = lambda p: (
        clean_loss_fn(p) + jnp.mean(state.weights[ids] * weak_losses_fn(p)))
    # ... to here. The rest is an ordinary training step.
    updates, opt_state = optimizer.update(jax.grad(loss_fn)(params), opt_state)
    return optax.apply_updates(params, updates), opt_state, state

  for step in range(300):
    ids = jax.random.permutation(jax.random.key(step), 500)[:BATCH]
    params, opt_state, state = train_step(params, opt_state, state, ids)
  auroc = hybridseg.metrics.auroc(1 - state.weights, is_wrong)
  print(f'AUROC of the weights against the wrong labels: {auroc:.3f}')
  return {'auroc': auroc}


if __name__ == '__main__':
  main()
