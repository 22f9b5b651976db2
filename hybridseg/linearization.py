"""Losses of many instances at one point, with their Jacobian's two products.

The closed form of the lookahead needs the slope of every weak loss along one
direction, J v, and the gradient of their weighted sum, J^T c. There are two
ways to have both from one forward pass; they give the same numbers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hybridseg import loss_functions
from hybridseg import mapped_axis
from hybridseg import masking
from hybridseg import types


class LinearizedLosses(NamedTuple):
  """Losses at one point, with both products of their Jacobian J.

  Attributes:
    losses: outputs of the losses function, any pytree of float [B].
    directional: v -> J v, the slope of every loss along v; tree like `losses`.
      `v` is a tree like the params, with None for leaves that are no floats.
    weighted_grads: c -> J^T c, the gradient of the sum of c_k * loss_k; `c` is
      a tree like `losses`, cast to their dtype; the gradient is like `v`.
    aux: what else the losses function returned, or None.
  """

  losses: Any
  directional: Callable[[Any], Any]
  weighted_grads: Callable[[Any], Any]
  aux: Any


def linearize_losses(
    losses_fn: Callable[[Any], Any],
    params: types.Params,
    *,
    has_aux: bool = False,
) -> LinearizedLosses:
  """Runs the network once for the losses, their slopes and their gradient.

  Args:
    losses_fn: maps params to losses, any pytree of float [B]; with `has_aux`
      to a pair of losses and any other pytree.
    params: point of linearisation, any pytree; leaves that are no floats are
      left as they are, see `loss_functions.split_floats`.
    has_aux: whether `losses_fn` returns a pair.

  Returns:
    Losses and the two products of their Jacobian: one forward pass in all, one
    tangent pass per call of `directional`, one backward pass per call of
    `weighted_grads`.

  Raises:
    ValueError: if a loss is no float, or if `losses_fn` returns no pair with
      `has_aux`.
  """
  floats, merge = loss_functions.split_floats(params)
  floats_fn = loss_functions.of_floats(
      losses_fn, merge, name='losses_fn', has_aux=has_aux)
  losses, directional, aux = jax.linearize(floats_fn, floats, has_aux=True)
  for loss in jax.tree.leaves(losses):
    if not jnp.issubdtype(loss.dtype, jnp.inexact):
      raise ValueError(
          f'losses_fn returns {loss.dtype} {loss.shape} among its losses: pass '
          'has_aux=True if it returns a pair of its losses and aux.')
  transpose = jax.linear_transpose(directional, floats)
  return LinearizedLosses(
      losses=losses,
      directional=directional,
      weighted_grads=lambda c: transpose(_cast_like(c, losses))[0],
      aux=aux,
  )


def _cast_like(tree, other):
  return jax.tree.map(lambda x, y: jnp.asarray(x, y.dtype), tree, other)


def _whole(tree):
  """Returns arrays as they are, but whole on every device.

  A compiler that splits a program over devices by itself, because its arguments
  are split, gets gradients of single instances wrong: those of a convolution's
  kernel are 0 beyond the first shard (XLA of jax 0.10 to 0.12). What is looked
  up in an order that the compiler does not know is not split, whether what it
  comes from or what is made of it is. Within `pmap` and `shard_map` there is
  nothing left to split, and nothing is looked up.
  """
  tree = jax.tree.map(jnp.asarray, tree)
  if mapped_axis.is_split_by_hand():
    return tree

  def look_up(x):
    for axis, size in enumerate(x.shape):
      order = jax.lax.optimization_barrier(jnp.arange(size))
      x = jnp.take(x, order, axis, mode='clip')
    return x

  return jax.tree.map(look_up, tree)


def linearize_per_instance(
    loss_fn: Callable[[types.Params, Any], Any],
    params: types.Params,
    examples: Any,
    *,
    has_aux: bool = False,
) -> LinearizedLosses:
  """Like `linearize_losses`, by keeping the gradient of every instance.

  The B gradients cost as many FLOPs as the one of their sum; slopes and
  weighted gradients are then inner products of size B x P for P parameters,
  next to nothing for a convolutional network, instead of a tangent pass each.
  The price is B x P floats of memory, and weight gradients that are computed
  instance by instance. Exact for losses that do not look at other instances (no
  BatchNorm). Measured in `experiments/results/step_time.md`.

  Under a `jax.jit` whose arguments are split over devices, without `shard_map`
  or `pmap`, every device computes the gradients of the whole batch: XLA splits
  those of convolutions wrongly.

  Args:
    loss_fn: maps params and one example to its loss, float []; with `has_aux`
      to a pair of the loss and any pytree.
    params: point of linearisation, any pytree; leaves that are no floats are
      left as they are, see `loss_functions.split_floats`.
    examples: pytree of arrays [B, ...].
    has_aux: whether `loss_fn` returns a pair.

  Returns:
    Losses, float [B], and the two products of their Jacobian; `aux` has a
    leading axis B.

  Raises:
    ValueError: if `loss_fn` does not return a scalar, or no pair with
      `has_aux`.
  """
  floats, merge = loss_functions.split_floats(params)
  floats_fn = loss_functions.of_floats(
      loss_fn, merge, name='loss_fn', has_aux=has_aux, shape=(),
      meaning='the loss of one example, a float of shape ()')
  grad_fn = jax.value_and_grad(floats_fn, has_aux=True)
  (losses, aux), grads = jax.vmap(grad_fn, in_axes=(None, 0))(
      floats, _whole(examples))
  losses, aux = _whole((losses, aux))

  def directional(direction):
    # Sums over all parameters, whose terms cancel: neither half precision nor
    # the short products of accelerators, 10 bits on GPUs and 7 on TPUs.
    inner = lambda g, v: jnp.tensordot(
        g, v.astype(g.dtype), axes=v.ndim, precision='highest',
        preferred_element_type=masking.wide_dtype(g.dtype))
    slopes = jax.tree.leaves(jax.tree.map(inner, grads, direction))
    wide = masking.wide_dtype(losses.dtype)
    return _whole(sum(s.astype(wide) for s in slopes).astype(losses.dtype))

  def weighted_grads(coefficients):
    weigh = lambda g: jnp.tensordot(
        _whole(coefficients).astype(g.dtype), g, axes=1, precision='highest')
    return jax.tree.map(weigh, grads)

  return LinearizedLosses(losses, directional, weighted_grads, aux)
