"""Bad numbers that travel as data, so that one compiled step serves all cases.

A loss is reached by pixels of a class that does not exist: their number says
which bad number comes into which loss. `with_slope` is finite forward and bad
backward.
"""

import jax
import jax.numpy as jnp
import numpy as np

VALUES = (np.nan, np.inf, -np.inf)
NO_CLASS = 250  # Label of the marking pixels.


@jax.custom_jvp
def with_slope(x: jax.Array, extra: jax.Array) -> jax.Array:
  """Returns x, whose slope is 1 + extra."""
  del extra
  return x


@with_slope.defjvp
def _(primals, tangents):
  return primals[0], tangents[0] * (1 + primals[1])


def marked(labels: jax.Array, where: jax.Array) -> jax.Array:
  """Says which pixels mark, [B, H, W], given one-hot labels [B, H, W, K].

  The labels of a class that does not exist are nan, see
  `losses.one_hot_labels`: a loss that is to see other numbers leaves them out.
  """
  return where & jnp.any(jnp.isnan(labels), axis=-1)


def value(labels: jax.Array, where: jax.Array, first_mark: int) -> jax.Array:
  """Returns what the marks of each instance call for, else 0; [B].

  Args:
    labels: one-hot, [B, H, W, K].
    where: labelled pixels, marks among them, [B, H, W].
    first_mark: number of pixels that calls for the first of `VALUES`; one more
      for each next.
  """
  kind = jnp.sum(marked(labels, where), axis=(1, 2)) - first_mark + 1
  known = (kind > 0) & (kind <= len(VALUES))
  return jnp.array([0.0, *VALUES])[jnp.where(known, kind, 0)]
