"""Helpers that the tests of networks share."""

import flax.linen as nn
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np


def random_params(model: nn.Module, shape, *, seed: int = 0):
  """Returns random parameters of a network for images of a given shape.

  NumPy draws them, because the network's own initialization must be compiled.
  """
  shapes = jax.eval_shape(
      model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    noise = rng.standard_normal(leaf.shape, np.float32)
    if path[-1] == 'kernel':
      return noise * np.sqrt(2 / np.prod(leaf.shape[:-1]), dtype=np.float32)
    return np.float32(path[-1] == 'scale') + 0.1 * noise

  return traverse_util.path_aware_map(draw, dict(shapes['params']))


def init_shapes(test, model: nn.Module, shape):
  """Returns the shapes of a network's logits, features and parameters.

  It also checks that all of them are float32.
  """
  (logits, features), variables = jax.eval_shape(
      lambda: model.init_with_output(
          jax.random.key(0), jnp.zeros(shape), return_features=True))
  test.assertEqual(set(variables), {'params'})
  leaves = jax.tree.leaves(variables) + [logits, features]
  test.assertEqual({x.dtype for x in leaves}, {jnp.dtype('float32')})
  return logits, features, variables['params']


def check_independent(test, model: nn.Module, shape):
  """Checks that the logits of an image do not depend on the next image."""
  variables = {'params': random_params(model, shape)}
  images = jax.random.uniform(jax.random.key(0), shape)
  apply = jax.jit(model.apply)
  logits = apply(variables, images)
  changed = apply(variables, images.at[1].multiply(-100.0))
  np.testing.assert_array_equal(changed[0], logits[0])
  test.assertGreater(np.abs(changed[1] - logits[1]).max(), 0.1)
