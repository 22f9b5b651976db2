"""Finds nans and infinities, and keeps them out of the training state."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from hybridseg import mapped_axis


def _floats(tree):
  """Returns the leaves of a tree whose dtype can hold a nan or an infinity."""
  leaves = [jnp.asarray(x) for x in jax.tree.leaves(tree)]
  return [x for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]


def all_finite(tree: Any) -> jax.Array:
  """Returns whether no array of a tree holds a nan or an infinity.

  Args:
    tree: any pytree of arrays; integers, booleans and keys count as finite.

  Returns:
    bool []; True for a tree without floats.
  """
  finite = [jnp.all(jnp.isfinite(x)) for x in _floats(tree)]
  return jnp.all(jnp.stack(finite)) if finite else jnp.array(True)


def nonfinite_rows(tree: Any) -> jax.Array:
  """Returns which rows hold a nan or an infinity in any array of a tree.

  Args:
    tree: pytree with at least one float array; all float arrays are [B, ...]
      with the same B.

  Returns:
    bool [B].

  Raises:
    ValueError: if the arrays differ in B, or if there is no float array.
  """
  leaves = _floats(tree)
  shapes = [x.shape for x in leaves]
  if len({shape[:1] for shape in shapes}) != 1 or () in shapes:
    raise ValueError(f'Want arrays [B, ...] of one B, got shapes {shapes}.')
  bad = [
      jnp.any(~jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in leaves
  ]
  return jnp.any(jnp.stack(bad), axis=0)


def gather_rows(
    rows: jax.Array, *, axis_name: mapped_axis.AxisName = None
) -> jax.Array:
  """Gathers the rows of all shards, in the order of the global batch.

  Args:
    rows: one value per instance of this shard, [B].
    axis_name: mapped axis over which the batch is sharded, or None.

  Returns:
    Values of all D shards, [D * B], the same on every device.
  """
  mapped_axis.check(axis_name)
  if not axis_name:
    return rows
  gather = functools.partial(
      jax.lax.all_gather, rows, axis_name, tiled=True)
  try:
    # With this option, `jax.shard_map` knows that all shards hold the same
    # values.
    return gather(to='invarying')
  except (AssertionError, ValueError):  # vmap does not allow the option.
    return gather()


def select(ok: jax.Array, new: Any, old: Any) -> Any:
  """Returns `new` if `ok` is True, else `old`, bit for bit.

  The result is one of the two trees and not a weighted sum of both, so a nan in
  `new` cannot reach it when `old` is chosen.

  Args:
    ok: bool []; must be the same on all devices, or their states would diverge.
    new: any pytree of arrays.
    old: the same structure, shapes and dtypes.

  Returns:
    One of the two trees.

  Raises:
    ValueError: if the trees, their shapes or their dtypes differ.
  """

  def check(n, o):
    if n.shape != o.shape or n.dtype != o.dtype:
      raise ValueError(
          f'New {n.shape} {n.dtype} differs from old {o.shape} {o.dtype}.'
      )

  jax.tree.map(check, new, old)
  # With `jnp.where` on each leaf, XLA's CPU compiler would repeat the
  # computation of `ok` for every leaf, which takes six times as long.
  return jax.lax.cond(ok, lambda n, o: n, lambda n, o: o, new, old)
