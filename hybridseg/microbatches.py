"""Computes the losses of a batch that does not fit in memory part by part."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from hybridseg import types


def over_microbatches(
    fn: Callable[[types.Params, jax.Array], Any], num_microbatches: int
) -> Callable[[types.Params], Any]:
  """Turns a loss function of one part of a batch into one of the whole batch.

  The parts are computed one after the other, and once more in a backward pass,
  so that memory holds the activations of one part at a time. The batch must
  have all M parts: if an array has fewer, JAX silently reads its last part
  again.

  Args:
    fn: maps params and the index of a part, int32 [], to any pytree of arrays.
    num_microbatches: number of parts M.

  Returns:
    A function that maps params to the same tree, with a leading axis M on each
    array.

  Raises:
    ValueError: if `num_microbatches` is not positive.
  """
  if num_microbatches < 1:
    raise ValueError(f'{num_microbatches=} is not positive.')
  # `jnp.arange` would transfer its arguments to the device; `iota` does not.
  numbers = jax.lax.iota(jnp.int32, num_microbatches)
  part_fn = jax.checkpoint(fn)
  return lambda params: jax.lax.map(lambda i: part_fn(params, i), numbers)
