"""Meta-Weight-Net (Shu et al., 2019) with half of the labels random.

https://arxiv.org/abs/1902.07379. A small network maps the loss of an example to
its weight. It learns from how much examples with such a loss lower the loss on
100 clean examples.
"""

from hybridseg import linearization
from hybridseg import meta_weight_net
from hybridseg import metrics
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


def train(seed, *, weighted):
  keys = jax.random.split(jax.random.key(seed), 9)
  (x, truth), clean, test = map(make_data, keys[:3], (500, 100, 2000))
  drawn = jax.random.randint(keys[3], (500,), 0, SIZES[-1])
  y = jnp.where(jax.random.bernoulli(keys[4], 0.5, (500,)), drawn, truth)
  params = [jax.random.normal(key, (n, m)) * n**-0.5
            for key, n, m in zip(keys[5:7], SIZES[:-1], SIZES[1:], strict=True)]

  def step(carry, inputs):
    (params, net), (number, key) = carry, inputs
    ids = jax.random.choice(key, 500, (100,), replace=False)
    linear = linearization.linearize_losses(
        lambda p: losses_fn(p, x[ids], y[ids]), params)
    clean_grads = jax.grad(lambda p: jnp.mean(losses_fn(p, *clean)))(params)
    # During the first 50 steps, the loss tells little about a label.
    weights, net = meta_weight_net.weigh(
        net, linear.losses, linear.directional(clean_grads),
        learning_rate=jnp.where(number < 50, 0.0, 1e-3))
    weights = jnp.where(weighted, weights, 1.0)
    grads = linear.weighted_grads(weights / 100)
    return (jax.tree.map(lambda p, g: p - 0.3 * g, params, grads), net), None

  (params, net), _ = jax.lax.scan(
      step, (params, meta_weight_net.init_weight_net(keys[7])),
      (jnp.arange(1000), jax.random.split(keys[8], 1000)))
  weights = meta_weight_net.batch_weights(net.params, losses_fn(params, x, y))
  logits = jax.nn.relu(test[0] @ params[0]) @ params[1]
  return (float(jnp.mean(logits.argmax(-1) == test[1])),
          metrics.auroc(-weights, y != truth))


def main(seed: int = 0) -> dict[str, float]:
  uniform, _ = train(seed, weighted=False)
  weighted, auroc = train(seed, weighted=True)
  print(f'Clean test accuracy: uniform {uniform:.3f}, weighted {weighted:.3f}')
  print(f'AUROC of the weights against the wrong labels: {auroc:.3f}')
  return dict(uniform=uniform, weighted=weighted, auroc=auroc)


if __name__ == '__main__':
  main()
