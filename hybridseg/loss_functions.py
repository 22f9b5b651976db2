"""The loss functions of a caller: what they are given and what they return.

Modules of equinox and flax nnx are pytrees that hold functions, names, counts
and keys of random numbers beside their parameters. Only the floats among the
leaves are differentiated; a loss function gets them together with the rest.
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
  """Splits off the leaves of a tree that are differentiated.

  If every leaf is a float, so that `jax.grad` takes the tree, these are all.
  Otherwise the tree is taken for a module, in which a Python float is a
  setting, such as the rate of a dropout, and only float arrays are
  differentiated, those for which `eqx.is_inexact_array` is true.

  Args:
    params: any pytree.

  Returns:
    The tree with None in place of all other leaves, and a function that puts
    the others back into such a tree.

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
  """Returns the path and the type of a leaf that JAX cannot trace, or None."""
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
  """Returns a loss function of the float leaves alone, and always with aux.

  Args:
    fn: maps params, and maybe more, to losses; with `has_aux` to a pair of
      losses and aux.
    merge: from `split_floats`.
    name: of `fn`, for messages.
    has_aux: whether `fn` returns a pair.
    shape: what its losses must have, as for `check_losses`; None is any tree.
    meaning: says in words what it must return.

  Returns:
    A function of the floats, and of whatever else `fn` takes, that returns the
    pair of losses and aux; aux is None without `has_aux`. It raises ValueError
    where `fn` returns what it should not, where it cannot trace a leaf that is
    no array, and where it changes an nnx variable that it does not own.
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
          f'{name} traces {leaf}, which is no array: differentiate what '
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
  """Refuses what is no float array of a shape.

  Args:
    losses: what a loss function returned.
    shape: what it should have.
    name: of the function, for messages.
    meaning: says in words what it should return.

  Raises:
    ValueError: if `losses` is a tuple, another tree, no float, or of another
      shape.
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
