"""The mapped axis over which a batch is split: `jax.pmap`, `jax.shard_map`.

Everything that averages over a batch takes the name of that axis, `axis_name`.
Without it, every shard would take its own part for the whole batch, and nothing
would say so.
"""

from typing import Any

import jax

# None where nothing is mapped; () where every shard is a problem of its own.
AxisName = str | tuple[()] | None


def is_split_by_hand() -> bool:
  """Returns whether the compiler has no axis of devices left to split over."""
  mesh = jax.sharding.get_abstract_mesh()
  return bool(mesh.manual_axes) and not (mesh.auto_axes or mesh.explicit_axes)


def check(axis_name: AxisName) -> None:
  """Refuses to take one shard of a batch for all of it.

  It sees the axes of `jax.shard_map`, and of a `jax.pmap` that has a name. It
  does not see those of a `jax.pmap` without one, over which nothing could be
  averaged, nor those of `jax.vmap(axis_name=...)`, which JAX shows to nobody:
  each row is then taken for a batch of its own. Nor can it know whether an axis
  beside the one that is given splits the batch, too.

  Args:
    axis_name: what the caller was given.

  Raises:
    ValueError: if it is None within a mapped axis.
  """
  if axis_name is not None:
    return
  # JAX gives a pmap without a name one of its own.
  axes = [name for name in jax.sharding.get_abstract_mesh().manual_axes
          if not name.startswith('_internal_pmap')]
  if axes:
    raise ValueError(
        f'The batch is split over the mapped axis {axes[0]!r}: pass '
        f'axis_name={axes[0]!r}, or axis_name=() if each shard is a problem of '
        'its own.')


def pmean(tree: Any, axis_name: AxisName) -> Any:
  """Returns the mean of a tree over the shards; the tree if there are none."""
  check(axis_name)
  return jax.lax.pmean(tree, axis_name) if axis_name else tree


def num_shards(axis_name: AxisName) -> int | jax.Array:
  """Returns how many shards a mapped axis has; 1 if there is none."""
  check(axis_name)
  return jax.lax.psum(1, axis_name) if axis_name else 1


def shard_index(axis_name: AxisName) -> int | jax.Array:
  """Returns which shard this is, from 0; 0 if there is no axis."""
  check(axis_name)
  return jax.lax.axis_index(axis_name) if axis_name else 0


def varying(tree: Any, axis_name: AxisName) -> Any:
  """Marks a tree as different on every shard, for `jax.shard_map`.

  With `check_vma`, its default, it sums the gradient in what all shards share
  by itself, and `pmean` of that would still be the sum.
  """

  def vary(x):
    try:
      return jax.lax.pcast(x, axis_name, to='varying')
    except (AssertionError, ValueError):  # It does already, or under vmap.
      return x

  return jax.tree.map(vary, tree) if axis_name else tree
