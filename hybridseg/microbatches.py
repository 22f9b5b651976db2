"""Losses of a batch that is too large for the memory, in parts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hybridseg import types


def over_microbatches(
    fn: Callable[[types.Params, jax.Array], Any], num_microbatches: int
) -> Callable[[types.Params], Any]:
  """Returns a loss function of the whole batch from one of its parts.

  The parts are computed one after the other, and again in a backward pass, so
  that no more than the activations of one of them are ever held. All parts must
  be there: of an array with fewer, JAX reads the last one again, in silence.

  Args:
    fn: maps params and the number of a part, int32 [], to any pytree of arrays.
    num_microbatches: number of parts M.

  Returns:
    A function of params to the same tree, each array with a leading axis M.

  Raises:
    ValueError: if the number is not positive.
  """
  if num_microbatches < 1:
    raise ValueError(f'{num_microbatches=} is not positive.')
  # Not `jnp.arange` of Python numbers, which would be a transfer.
  numbers = jax.lax.iota(jnp.int32, num_microbatches)
  part_fn = jax.checkpoint(fn)
  return lambda params: jax.lax.map(lambda i: part_fn(params, i), numbers)
