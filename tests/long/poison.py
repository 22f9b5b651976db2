"""Injects nan and infinite numbers into losses and gradients.

The label maps encode which number is injected into which loss, so that one
compiled training step can test all cases. Some pixels are given the class
`NO_CLASS`, which does not exist; how many pixels are marked in this way selects
the bad number and the loss. With `with_slope`, the value of a function stays
finite, but its gradient does not.
"""

import jax
import jax.numpy as jnp
import numpy as np

VALUES = (np.nan, np.inf, -np.inf)
NO_CLASS = 250  # The label of marked pixels.


@jax.custom_jvp
def with_slope(x: jax.Array, extra: jax.Array) -> jax.Array:
  """Returns x, but with a derivative of 1 + extra."""
  del extra
  return x


@with_slope.defjvp
def _(primals, tangents):
  return primals[0], tangents[0] * (1 + primals[1])


def marked(labels: jax.Array, where: jax.Array) -> jax.Array:
  """Returns which pixels are marked, because their labels are nan, [B, ...].

  `losses.one_hot_labels` makes the labels of a class that does not exist nan. A
  loss into which a test injects a number of its own at such pixels must leave
  these nans out.

  Args:
    labels: one-hot labels, [B, ..., K].
    where: labelled pixels, including marked ones, [B, ...].
  """
  return where & jnp.any(jnp.isnan(labels), axis=-1)


def value(labels: jax.Array, where: jax.Array, first_mark: int) -> jax.Array:
  """Returns the number that the marked pixels of each instance select, [B].

  It is 0 if the number of marked pixels selects none of `VALUES` for this loss.

  Args:
    labels: one-hot labels, [B, ..., K].
    where: labelled pixels, including marked ones, [B, ...].
    first_mark: number of marked pixels that selects the first of `VALUES`; each
      further pixel selects the next one.
  """
  space = tuple(range(1, where.ndim))
  kind = jnp.sum(marked(labels, where), axis=space) - first_mark + 1
  known = (kind > 0) & (kind <= len(VALUES))
  return jnp.array([0.0, *VALUES])[jnp.where(known, kind, 0)]
