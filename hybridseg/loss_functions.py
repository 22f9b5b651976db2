"""Wraps a caller's loss functions and checks what they return.

Modules of equinox and flax nnx are pytrees that hold functions, names, counts
and random keys next to their parameters. Only the floats among the leaves are
differentiated, but a loss function needs all leaves.
"""

from collections.abc import Callable
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp

from hybridseg import types

_MODULES = (
    'eqx.partition(model, eqx.is_inexact_array) or nnx.split(model, nnx.Param, '
    '...)'
)


def _is_float(x, python_too):
  if not hasattr(x, 'dtype'):
    return python_too and isinstance(x, (float, complex))
  return jnp.issubdtype(x.dtype, jnp.inexact)


def split_floats(
    params: types.Params,
) -> tuple[types.Params, Callable[[types.Params], types.Params]]:
  """Splits a tree into the leaves that are differentiated and the others.

  If every leaf is a float, as `jax.grad` requires, all leaves are
  differentiated. Otherwise the tree is assumed to be a module. A Python float
  in it is a setting, such as a dropout rate, and only the float arrays are
  differentiated: those for which `eqx.is_inexact_array` is true.

  Args:
    params: any pytree.

  Returns:
    The tree of the differentiated leaves, with None in place of the others; and
    a function that puts the other leaves back into such a tree.

  Raises:
    ValueError: if the tree has no float leaf.
  """
  leaves, treedef = jax.tree.flatten(params)
  if leaves and all(_is_float(x, python_too=True) for x in leaves):
    return params, lambda floats: floats
  is_learnt = [_is_float(x, python_too=False) for x in leaves]
  if not any(is_learnt):
    raise ValueError(
        'params hold no float array, so that there is nothing to '
        f'differentiate: pass what {_MODULES} returns first.')

  def merge(floats):
    learnt = iter(jax.tree.leaves(floats))
    return jax.tree.unflatten(treedef, [
        next(learnt) if is_one else x
        for x, is_one in zip(leaves, is_learnt, strict=True)
    ])

  floats = jax.tree.unflatten(treedef, [
      x if is_one else None for x, is_one in zip(leaves, is_learnt, strict=True)
  ])
  return floats, merge


def _untraceable(params):
  """Returns the path and type of the first untraceable leaf, or None."""
  for path, x in jax.tree_util.tree_leaves_with_path(params):
    if not hasattr(x, 'dtype') and not isinstance(x, (bool, int, float)):
      return f'params{jax.tree_util.keystr(path)} ({type(x).__name__})'
  return None


def of_floats(
    fn: Callable[..., Any],
    merge: Callable[[types.Params], types.Params],
    *,
    name: str,
    has_aux: bool,
    shape: tuple[int, ...] | None = None,
    meaning: str = '',
) -> Callable[..., tuple[Any, Any]]:
  """Wraps a loss function so that it takes only float leaves and returns aux.

  Args:
    fn: maps params, and maybe further arguments, to losses; with `has_aux`, to
      a pair of losses and aux.
    merge: from `split_floats`.
    name: name of `fn`, for messages.
    has_aux: whether `fn` returns a pair.
    shape: shape that the losses must have, see `check_losses`; None allows any
      tree.
    meaning: description of what `fn` must return, for messages.

  Returns:
    A function of the float leaves, and of the further arguments of `fn`, that
    returns a pair of losses and aux; aux is None without `has_aux`. It raises
    ValueError if `fn` returns something else, if `fn` traces a leaf that is not
    an array, and if `fn` changes an nnx variable that was made outside of it.
  """

  def floats_fn(floats, *args):
    params = merge(floats)
    try:
      output = fn(params, *args)
    except flax.errors.TraceContextError as error:
      raise ValueError(
          f'{name} changes an nnx variable that was made outside of it (of a '
          'BatchNorm or Dropout): merge a copy within it, '
          'nnx.merge(graphdef, params, rest, copy=True).') from error
    except TypeError as error:
      leaf = _untraceable(params)
      if leaf is None or 'as an abstract array' not in str(error):
        raise
      raise ValueError(
          f'{name} traces {leaf}, which is not an array: differentiate what '
          f'{_MODULES} returns first, and combine it within {name}.') from error
    if has_aux and (not isinstance(output, tuple) or len(output) != 2):
      raise ValueError(
          f'With has_aux, {name} must return a pair, its losses and aux; it '
          f'returned a {type(output).__name__}.')
    losses, aux = output if has_aux else (output, None)
    if shape is not None:
      check_losses(losses, shape, name=name, meaning=meaning)
    return losses, aux

  return floats_fn


def check_losses(
    losses: Any, shape: tuple[int, ...], *, name: str, meaning: str
) -> None:
  """Refuses losses that are not a float array of the given shape.

  Args:
    losses: return value of a loss function.
    shape: shape that the losses must have.
    name: name of the function, for messages.
    meaning: description of what the function must return, for messages.

  Raises:
    ValueError: if `losses` is a tuple or another tree, is not a float, or has
      another shape.
  """
  if isinstance(losses, tuple):
    raise ValueError(
        f'{name} returns a tuple of {len(losses)}: pass has_aux=True if it '
        'returns a pair of its losses and aux, as to jax.grad.')
  if not _is_float(losses, python_too=True):
    what = getattr(losses, 'dtype', type(losses).__name__)
    raise ValueError(f'{name} returns {what}: it must return {meaning}.')
  if jnp.shape(losses) != shape:
    raise ValueError(
        f'{name} returns shape {jnp.shape(losses)}: it must return {meaning}.')
