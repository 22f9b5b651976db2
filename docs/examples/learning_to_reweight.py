"""Learning to Reweight (Ren et al., 2018) with half of the labels random.

https://arxiv.org/abs/1803.09050. Every batch gets new weights, according to how
much a small step on each example would lower the loss on 100 clean examples.
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


def train(seed, *, reweighted):
  keys = jax.random.split(jax.random.key(seed), 8)
  (x, truth), clean, test = map(make_data, keys[:3], (500, 100, 2000))
  drawn = jax.random.randint(keys[3], (500,), 0, SIZES[-1])
  y = jnp.where(jax.random.bernoulli(keys[4], 0.5, (500,)), drawn, truth)
  params = [jax.random.normal(key, (n, m)) * n**-0.5
            for key, n, m in zip(keys[5:7], SIZES[:-1], SIZES[1:], strict=True)]
  optimizer = optax.adam(3e-3)

  def step(carry, key):
    params, opt_state = carry
    ids = jax.random.choice(key, 500, (100,), replace=False)
    noisy_fn = lambda p: losses_fn(p, x[ids], y[ids])
    clean_fn = lambda p: jnp.mean(losses_fn(p, *clean))
    weights = jnp.full(100, 0.01)
    if reweighted:
      weights = hybridseg.l2rw_weights(hybridseg.lookahead_weight_grads(
          noisy_fn, clean_fn, params, jnp.zeros(100), step_size=0.1))
    grads = jax.grad(lambda p: jnp.sum(weights * noisy_fn(p)))(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    wrong = jnp.sum(weights * (y[ids] != truth[ids]))
    return (optax.apply_updates(params, updates), opt_state), wrong

  (params, _), wrong = jax.lax.scan(
      step, (params, optimizer.init(params)), jax.random.split(keys[7], 500))
  logits = jax.nn.relu(test[0] @ params[0]) @ params[1]
  return float(jnp.mean(logits.argmax(-1) == test[1])), float(wrong.mean())


def main(seed: int = 0) -> dict[str, float]:
  uniform, share = train(seed, reweighted=False)
  weighted, weight = train(seed, reweighted=True)
  print(f'Clean test accuracy: uniform {uniform:.3f}, weighted {weighted:.3f}')
  print(f'{share:.2f} of the labels are wrong, {weight:.2f} of the weight')
  return dict(uniform=uniform, weighted=weighted, share=share, weight=weight)


if __name__ == '__main__':
  main()
