"""Dynamic instance indicators (Pan et al., 2022) with half the labels random.

https://arxiv.org/abs/2203.05956. Each example keeps a weight in [0, 1] from
step to step. The weight moves according to how much the example lowers the loss
on 100 clean examples, which are also learnt.
"""

import hybridseg
import jax
import jax.numpy as jnp
import optax

SIZES = 20, 64, 5  # Inputs, hidden units, classes.


def losses_fn(params, x, y):
  logits = jax.nn.relu(x @ params[0]) @ params[1]
  return optax.softmax_cross_entropy_with_integer_labels(logits, y)


def make_data(key, num):
  x = jax.random.uniform(key, (num, SIZES[0]), minval=-1)
  return x, jnp.argmax(x[:, :SIZES[-1]], axis=-1)


def train(seed, *, learning_rate):
  keys = jax.random.split(jax.random.key(seed), 8)
  (x, truth), clean, test = map(make_data, keys[:3], (500, 100, 2000))
  drawn = jax.random.randint(keys[3], (500,), 0, SIZES[-1])
  y = jnp.where(jax.random.bernoulli(keys[4], 0.5, (500,)), drawn, truth)
  params = [jax.random.normal(key, (n, m)) * n**-0.5
            for key, n, m in zip(keys[5:7], SIZES[:-1], SIZES[1:], strict=True)]
  optimizer = optax.adam(3e-3)

  def step(carry, key):
    params, opt_state, state = carry
    ids = jax.random.choice(key, 500, (100,), replace=False)
    noisy_fn = lambda p: losses_fn(p, x[ids], y[ids])
    clean_fn = lambda p: jnp.mean(losses_fn(p, *clean))
    slopes = hybridseg.lookahead_weight_grads(
        noisy_fn, clean_fn, params, state.weights[ids], step_size=0.1)
    slopes = hybridseg.weighting.unit_rms(slopes)
    state = hybridseg.update_indicators(
        state, ids, slopes, learning_rate=learning_rate)
    loss_fn = lambda p: clean_fn(p) + jnp.mean(state.weights[ids] * noisy_fn(p))
    updates, opt_state = optimizer.update(jax.grad(loss_fn)(params), opt_state)
    return (optax.apply_updates(params, updates), opt_state, state), None

  carry = params, optimizer.init(params), hybridseg.init_indicators(500)
  (params, _, state), _ = jax.lax.scan(
      step, carry, jax.random.split(keys[7], 500))
  logits = jax.nn.relu(test[0] @ params[0]) @ params[1]
  auroc = hybridseg.metrics.auroc(1 - state.weights, y != truth)
  return float(jnp.mean(logits.argmax(-1) == test[1])), auroc


def main(seed: int = 0) -> dict[str, float]:
  uniform, _ = train(seed, learning_rate=0.0)  # The indicators stay at 1.
  weighted, auroc = train(seed, learning_rate=0.1)
  print(f'Clean test accuracy: uniform {uniform:.3f}, weighted {weighted:.3f}')
  print(f'AUROC of the indicators against the wrong labels: {auroc:.3f}')
  return dict(uniform=uniform, weighted=weighted, auroc=auroc)


if __name__ == '__main__':
  main()
