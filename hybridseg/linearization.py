"""Losses of many instances, with the two products of their Jacobian J.

The closed form of the lookahead needs the derivative of every weak loss along a
direction, J v, and the gradient of their weighted sum, J^T c. The two functions
of this module compute both from one forward pass, and give the same results.
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
    losses: the losses, any pytree of float [B].
    directional: maps v to J v, the derivative of every loss along v, a tree
      like `losses`. `v` is a tree like the params, with None in place of leaves
      that are not floats.
    weighted_grads: maps c to J^T c, the gradient of the sum of c_k * loss_k, a
      tree like `v`. `c` is a tree like `losses` and is cast to their dtype.
    aux: second output of the loss function, or None.
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
  """Linearises the losses of a batch in one forward pass.

  Args:
    losses_fn: maps params to losses, any pytree of float [B]; with `has_aux`,
      to a pair of losses and any other pytree.
    params: point of linearisation, any pytree; leaves that are not floats are
      held constant, see `loss_functions.split_floats`.
    has_aux: whether `losses_fn` returns a pair.

  Returns:
    Losses and the two products of their Jacobian. There is one forward pass in
    all; each call of `directional` adds a tangent pass, and each call of
    `weighted_grads` a backward pass.

  Raises:
    ValueError: if a loss is not a float, or if `losses_fn` does not return a
      pair although `has_aux` is set.
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
  """Returns the same arrays in a form that the compiler does not split.

  If the arguments of a program are split over devices, the compiler also splits
  the program, and then computes wrong gradients of single instances: the
  gradients of a convolution's kernel are 0 beyond the first shard (XLA of jax
  0.10 to 0.12). To prevent this, the function looks up the rows of each array
  in an order that the compiler does not know. The compiler then keeps the
  result whole, even if it splits the inputs and the computations that use the
  result. Within `pmap` and `shard_map` the program is split already, so the
  look-up is omitted.
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
  """Linearises the losses of a batch by computing every instance's gradient.

  The B gradients cost as many FLOPs as the gradient of their sum. Directional
  derivatives and weighted gradients are then inner products of size B x P for P
  parameters. For a convolutional network they cost next to nothing, whereas
  `linearize_losses` needs a further pass for each. The price is B x P floats of
  memory, and parameter gradients that are computed instance by instance. The
  result is exact if the loss of an instance does not depend on the others (no
  BatchNorm). Measurements are in `experiments/results/step_time.md`.

  Under a `jax.jit` whose arguments are split over devices, without `shard_map`
  or `pmap`, every device computes the gradients of the whole batch, because XLA
  splits the gradients of convolutions wrongly.

  Args:
    loss_fn: maps params and one example to its loss, float []; with `has_aux`,
      to a pair of the loss and any pytree.
    params: point of linearisation, any pytree; leaves that are not floats are
      held constant, see `loss_functions.split_floats`.
    examples: pytree of arrays [B, ...].
    has_aux: whether `loss_fn` returns a pair.

  Returns:
    Losses, float [B], and the two products of their Jacobian; the arrays in
    `aux` have a leading axis B.

  Raises:
    ValueError: if `loss_fn` does not return a scalar, or does not return a pair
      although `has_aux` is set.
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
    # The terms of these sums over all parameters largely cancel. The sums
    # therefore need more than half precision, and more than the default
    # products of accelerators, which have 10 bits on GPUs and 7 on TPUs.
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
