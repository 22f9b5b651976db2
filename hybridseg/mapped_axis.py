"""Helpers for the axis of `jax.pmap` or `jax.shard_map` that splits a batch.

Every function that averages over a batch takes the name of this axis,
`axis_name`. Without the name, each shard would silently treat its part as the
whole batch.
"""

from typing import Any

import jax

# Name of a mapped axis; None if nothing is mapped; () if every shard is an
# independent problem.
AxisName = str | tuple[()] | None


def is_split_by_hand() -> bool:
  """Returns whether the program is mapped over all axes of the device mesh.

  The compiler then has no axis left over which it could split the program.
  """
  mesh = jax.sharding.get_abstract_mesh()
  return bool(mesh.manual_axes) and not (mesh.auto_axes or mesh.explicit_axes)


def check(axis_name: AxisName) -> None:
  """Refuses a missing axis name in a program whose batch is split.

  The check recognises the axes of `jax.shard_map`, and of a `jax.pmap` with an
  axis name. It does not recognise a `jax.pmap` without a name, over which
  nothing could be averaged. It does not recognise `jax.vmap(axis_name=...)`
  either, because JAX does not reveal the axis; each row is then treated as a
  batch of its own. Nor can the check find a second axis that splits the batch
  in addition to the given one.

  Args:
    axis_name: the argument `axis_name` of the calling function.

  Raises:
    ValueError: if `axis_name` is None within a mapped axis.
  """
  if axis_name is not None:
    return
  # JAX invents a name with this prefix for a pmap without an axis name.
  axes = [name for name in jax.sharding.get_abstract_mesh().manual_axes
          if not name.startswith('_internal_pmap')]
  if axes:
    raise ValueError(
        f'The batch is split over the mapped axis {axes[0]!r}: pass '
        f'axis_name={axes[0]!r}, or axis_name=() if each shard is a problem of '
        'its own.')


def pmean(tree: Any, axis_name: AxisName) -> Any:
  """Averages a tree over all shards; without an axis, returns it unchanged."""
  check(axis_name)
  return jax.lax.pmean(tree, axis_name) if axis_name else tree


def num_shards(axis_name: AxisName) -> int | jax.Array:
  """Returns the number of shards of a mapped axis; without an axis, 1."""
  check(axis_name)
  return jax.lax.psum(1, axis_name) if axis_name else 1


def shard_index(axis_name: AxisName) -> int | jax.Array:
  """Returns the index of this shard, from 0; without an axis, 0."""
  check(axis_name)
  return jax.lax.axis_index(axis_name) if axis_name else 0


def varying(tree: Any, axis_name: AxisName) -> Any:
  """Marks the arrays of a tree as different on every shard.

  With the default check_vma=True, `jax.shard_map` itself sums the gradient with
  respect to values that all shards share. Without the mark, `pmean` would then
  return that sum instead of the mean.
  """

  def vary(x):
    try:
      return jax.lax.pcast(x, axis_name, to='varying')
    # JAX raises an error if `x` is marked already, or if the axis is of a vmap.
    except (AssertionError, ValueError):
      return x

  return jax.tree.map(vary, tree) if axis_name else tree
