"""Indicators for a flax nnx model: which masks of a set are wrong?

The task is the segmentation of discs in noise. 16 of 64 masks lie beside their
disc, and 8 pictures with exact masks show which. `nnx.split` returns the
pytree, and `nnx.merge` the model.
"""

from flax import nnx
import hybridseg
import jax
import jax.numpy as jnp
import optax


class Segmenter(nnx.Module):

  def __init__(self, rngs):
    self.hidden = nnx.Conv(1, 8, (3, 3), rngs=rngs)
    self.output = nnx.Conv(8, 2, (1, 1), rngs=rngs)

  def __call__(self, images):
    return self.output(nnx.relu(self.hidden(images)))


def make_discs(key, num):
  """Returns pictures, float [N, 16, 16, 1], and masks, int [N, 16, 16]."""
  keys = jax.random.split(key)
  centre = jax.random.uniform(keys[0], (num, 1, 1, 2), minval=4, maxval=12)
  pixels = jnp.stack(jnp.mgrid[:16, :16], axis=-1)[None]
  masks = jnp.linalg.norm(pixels - centre, axis=-1) < 3
  noise = jax.random.normal(keys[1], masks.shape)
  return (masks + 0.5 * noise)[..., None], masks.astype(int)


def losses_fn(graphdef, params, images, masks):
  """Returns one loss per picture, [B]."""
  logits = nnx.merge(graphdef, params)(images)
  return jnp.mean(
      optax.softmax_cross_entropy_with_integer_labels(logits, masks), (1, 2))


def main(seed: int = 0) -> dict[str, float]:
  keys = jax.random.split(jax.random.key(seed), 3)
  (images, masks), exact = make_discs(keys[0], 64), make_discs(keys[1], 8)
  masks = masks.at[:16].set(jnp.roll(masks[:16], 5, axis=2))
  graphdef, params = nnx.split(Segmenter(nnx.Rngs(keys[2])), nnx.Param)
  state = hybridseg.init_indicators(64)

  @jax.jit
  def train_step(params, state):
    weak_fn = lambda p: losses_fn(graphdef, p, images, masks)
    exact_fn = lambda p: jnp.mean(losses_fn(graphdef, p, *exact))
    slopes = hybridseg.lookahead_weight_grads(
        weak_fn, exact_fn, params, state.weights, step_size=0.1)
    state = hybridseg.update_indicators(
        state, jnp.arange(64), hybridseg.weighting.unit_rms(slopes),
        learning_rate=0.1)
    loss_fn = lambda p: exact_fn(p) + jnp.mean(state.weights * weak_fn(p))
    grads = jax.grad(loss_fn)(params)
    return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), state

  for _ in range(60):
    params, state = train_step(params, state)
  auroc = hybridseg.metrics.auroc(1 - state.weights, jnp.arange(64) < 16)
  print(f'AUROC of the indicators against the wrong masks: {auroc:.3f}')
  return dict(auroc=auroc)


if __name__ == '__main__':
  main()
