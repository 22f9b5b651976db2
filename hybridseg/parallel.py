"""Devices: the only module that maps, shards or asks how many there are."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

AXIS_NAME = 'batch'


def pmap_step(
    step_fn: Callable[..., Any],
    *,
    axis_name: str = AXIS_NAME,
    devices: list[jax.Device] | None = None,
) -> Callable[..., Any]:
  """Maps `step_fn(state, batch, key)` over the leading axis of `batch`.

  State and key carry no device axis; state is donated: never read it again.
  What comes back is the same on all devices by construction of the step
  (`out_axes=None` does not check it).

  Args:
    step_fn: built with the same `axis_name`.
    axis_name: name of the mapped axis.
    devices: devices to use; None uses all.

  Returns:
    A compiled function of (state, batch [D, B / D, ...], key).
  """
  return jax.pmap(
      step_fn,
      axis_name,
      in_axes=(None, 0, None),
      out_axes=None,
      donate_argnums=0,
      devices=devices,
  )


def replicate(
    tree: Any,
    *,
    axis_name: str = AXIS_NAME,
    devices: list[jax.Device] | None = None,
) -> Any:
  """Places a state as a step returns it: on all devices, no device axis.

  A state placed otherwise makes the second step compile again.

  Args:
    tree: any pytree of arrays.
    axis_name: as for `pmap_step`.
    devices: as for `pmap_step`.

  Returns:
    The same values.
  """
  num_devices = len(devices or jax.local_devices())
  place = jax.pmap(
      lambda tree, _: tree,
      axis_name,
      in_axes=(None, 0),
      out_axes=None,
      devices=devices,
  )
  return place(tree, np.zeros(num_devices))


def pmap_eval(
    eval_fn: Callable[..., Any],
    *,
    axis_name: str = AXIS_NAME,
    devices: list[jax.Device] | None = None,
) -> Callable[..., Any]:
  """Maps `eval_fn(params, examples)` over the leading axis of `examples`.

  Args:
    eval_fn: a pure function of params and a shard of examples.
    axis_name: as for `pmap_step`, so that its state needs no move.
    devices: devices to use; None uses all.

  Returns:
    A compiled function whose outputs keep the device axis, [D, B / D, ...].
  """
  return jax.pmap(eval_fn, axis_name, in_axes=(None, 0), devices=devices)


def shard_batch(batch: Any, num_devices: int) -> Any:
  """Splits the leading axis of every array, [B, ...] -> [D, B / D, ...].

  Args:
    batch: any pytree of arrays.
    num_devices: number of shards D.

  Returns:
    The same tree; shard d holds rows d * B / D to (d + 1) * B / D.

  Raises:
    ValueError: if B is no multiple of D.
  """

  def split(x):
    if x.shape[0] % num_devices:
      raise ValueError(
          f'A batch of {x.shape[0]} does not divide over {num_devices} devices:'
          f' use a multiple of {num_devices}.'
      )
    return x.reshape((num_devices, -1) + x.shape[1:])

  return jax.tree.map(split, batch)


def unshard(tree: Any) -> Any:
  """Undoes `shard_batch`: [D, B / D, ...] -> [B, ...]."""
  return jax.tree.map(lambda x: x.reshape((-1,) + x.shape[2:]), tree)
