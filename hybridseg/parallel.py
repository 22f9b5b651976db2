"""Devices and processes: the only module that maps, shards or counts them.

Each device runs the same step on its own rows of the batch and averages with
the others by name. Either `jax.pmap` does that, or `jax.jit` of a `shard_map`
over a mesh: the same numbers. `make_mapping` hides which, and how many
processes there are: each makes the same calls with the same global batches, and
keeps its own rows.
"""

from collections.abc import Callable, Sequence
import os
import sys
from typing import Any, NamedTuple, NoReturn

import jax
from jax._src import distributed
from jax.experimental import multihost_utils
import numpy as np

_AXIS_NAME = 'batch'
_COMPILATION_TIMEOUT_S = 1800
_ALL = jax.sharding.PartitionSpec()
_ROWS = jax.sharding.PartitionSpec(_AXIS_NAME)


class Mapping(NamedTuple):
  """How a step runs on the devices there are.

  Attributes:
    step: compiles (state, batch, key) -> (state, metrics). The step is built
      with `axis_name` and returns what is the same on all devices, which nobody
      checks. State is donated: never read it again.
    eval: compiles (params, examples [B, ...]) -> outputs [B, ...] in the order
      of the examples. Runs on this process's devices alone: no process waits
      for another, and B is a multiple of `num_local_devices`.
    replicate: places a state or a key, the same in every process, as a step
      returns it; placed otherwise, the second step compiles again.
    place_batch: turns a batch of *global* arrays [B, ...], the same in every
      process, into what `step` takes; B is a multiple of `num_devices`.
    axis_name: to build the step with.
    num_devices: over which a training batch is split, of all processes.
    num_local_devices: those of this process.
  """

  step: Callable[[Callable[..., Any]], Callable[..., Any]]
  eval: Callable[[Callable[..., Any]], Callable[..., Any]]
  replicate: Callable[[Any], Any]
  place_batch: Callable[[Any], Any]
  axis_name: str
  num_devices: int
  num_local_devices: int


def make_mapping(
    kind: str = 'pmap', *, devices: Sequence[jax.Device] | None = None
) -> Mapping:
  """Returns the way to run a step on `devices`.

  Args:
    kind: 'pmap', whose arrays are those of this process, or 'jit', whose arrays
      span all processes.
    devices: of all processes, the same list in each; None uses all there are.

  Returns:
    The mapping.

  Raises:
    ValueError: if `kind` is unknown.
  """
  if kind not in _KINDS:
    raise ValueError(f'Unknown mapping {kind!r}; known: {sorted(_KINDS)}.')
  # The rows of a process follow each other, whatever the order of its ids.
  devices = sorted(devices or jax.devices(), key=lambda d: d.process_index)
  mesh = jax.sharding.Mesh(
      np.array(devices),
      (_AXIS_NAME,),
      axis_types=(jax.sharding.AxisType.Auto,),
  )
  step, replicate, place_batch = _KINDS[kind](mesh)
  return Mapping(
      step=step,
      eval=lambda eval_fn: _eval(eval_fn, mesh.local_mesh),
      replicate=replicate,
      place_batch=place_batch,
      axis_name=_AXIS_NAME,
      num_devices=mesh.size,
      num_local_devices=mesh.local_mesh.size,
  )


def _pmap(mesh):
  """Returns `step`, `replicate` and `place_batch` by `jax.pmap`."""
  local = mesh.local_mesh
  devices = list(mesh.devices.flat)
  first = devices.index(local.devices.flat[0])
  rows = jax.sharding.NamedSharding(local, _ROWS)

  def step(step_fn):
    return jax.pmap(
        step_fn,
        _AXIS_NAME,
        in_axes=(None, 0, None),
        out_axes=None,
        donate_argnums=0,
        devices=devices,
    )

  def place_batch(batch):
    shards = shard_batch(batch, mesh.size)
    own = jax.tree.map(lambda x: x[first : first + local.size], shards)
    return jax.device_put(own, rows)

  return step, lambda tree: _replicate(tree, local), place_batch


def _jit(mesh):
  """Returns `step`, `replicate` and `place_batch` by `jax.jit`."""
  everywhere = jax.sharding.NamedSharding(mesh, _ALL)
  rows = jax.sharding.NamedSharding(mesh, _ROWS)

  def step(step_fn):
    # Not jit alone, which would leave it to the compiler to split a step on the
    # global batch: gradients of single instances are then computed on every
    # device for the whole batch (`linearization`).
    mapped = _shard_map(step_fn, mesh, (_ALL, _ROWS, _ALL), _ALL)
    return jax.jit(
        mapped,
        in_shardings=(everywhere, rows, everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )

  def place_batch(batch):
    _check_rows(batch, mesh.size)
    place = lambda x: jax.make_array_from_callback(
        x.shape, rows, x.__getitem__)
    with jax.transfer_guard_host_to_device('allow'):  # It is asked for.
      return jax.tree.map(place, batch)

  return step, lambda tree: _replicate(tree, mesh), place_batch


_KINDS = {'jit': _jit, 'pmap': _pmap}


def _shard_map(fn, mesh, in_specs, out_specs):
  # check_vma=True would sum the gradients of replicated parameters, which the
  # step averages itself.
  return jax.shard_map(
      fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
  )


def _eval(eval_fn, mesh):
  mapped = jax.jit(_shard_map(eval_fn, mesh, (_ALL, _ROWS), _ROWS))
  rows = jax.sharding.NamedSharding(mesh, _ROWS)

  def evaluate(params, examples):
    _check_rows(examples, mesh.size)
    return mapped(_seen_from(params, mesh), jax.device_put(examples, rows))

  return evaluate


def _replicate(tree, mesh):
  local = jax.sharding.NamedSharding(mesh.local_mesh, _ALL)

  def place(x):
    if isinstance(x, jax.core.Tracer):  # The caller wants shapes only.
      return x
    # By way of the host, since device_put gives an array's own buffer to the
    # result, may_alias=False or not, and the first step would donate it. A key
    # is not donated, and has no NumPy form.
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.device_put(x if is_key else to_host(x), local)

  return _seen_from(jax.tree.map(place, tree), mesh)


def _seen_from(tree, mesh):
  """Returns replicated arrays as arrays of `mesh`, without copy or traffic.

  Their buffers on this process's devices stay; what changes is whether those
  on the devices of other processes are part of the array.
  """
  sharding = jax.sharding.NamedSharding(mesh, _ALL)

  def view(x):
    is_placed = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    if not is_placed or x.sharding == sharding:
      return x
    buffers = {shard.device: shard.data for shard in x.addressable_shards}
    return jax.make_array_from_single_device_arrays(
        x.shape, sharding, [buffers[d] for d in mesh.local_devices]
    )

  return jax.tree.map(view, tree)


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
  _check_rows(batch, num_devices)
  return jax.tree.map(
      lambda x: x.reshape((num_devices, -1) + x.shape[1:]), batch
  )


def _check_rows(batch, num_devices):
  for x in jax.tree.leaves(batch):
    if x.shape[0] % num_devices:
      raise ValueError(
          f'A batch of {x.shape[0]} does not divide over {num_devices} devices:'
          f' use a multiple of {num_devices}.'
      )


def to_host(tree: Any) -> Any:
  """Copies a replicated tree to NumPy, whatever processes it is spread over.

  Args:
    tree: pytree of arrays that are the same on all devices, or that this
      process holds whole.

  Returns:
    The same values; no process waits for another.

  Raises:
    ValueError: if a part of an array is in another process only.
  """

  def local(x):
    if not isinstance(x, jax.Array) or x.is_fully_addressable:
      return x
    if not x.is_fully_replicated:
      raise ValueError(
          f'An array of shape {x.shape} is split over processes: only what is '
          'the same in all can be read in each.'
      )
    return x.addressable_data(0)

  return jax.device_get(jax.tree.map(local, tree))


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout_s: int = 30,
) -> None:
  """Joins this process to the others of a run, before any use of a device.

  Without arguments, the cluster's own variables tell which processes there are
  (Slurm, Open MPI, Kubernetes, Cloud TPU). Wraps `jax.distributed.initialize`.

  When one process dies, the others meet `jax.errors.JaxRuntimeError` where they
  wait for a step's result, as soon as its connections break (CPU), or are
  aborted by JAX after the heartbeat's timeout, whichever comes first.

  Args:
    coordinator_address: host:port of process 0, the same in each.
    num_processes: how many there are.
    process_id: which one this is, from 0.
    heartbeat_timeout_s: who has not answered for so long is dead.
  """
  jax.distributed.initialize(
      coordinator_address=coordinator_address,
      num_processes=num_processes,
      process_id=process_id,
      heartbeat_timeout_seconds=heartbeat_timeout_s,
  )


def num_processes() -> int:
  """Returns how many processes run together; asks nothing of their devices."""
  if not jax.distributed.is_initialized():
    return 1
  return jax.process_count()


def compile_together(step: jax.stages.Wrapped, *args: Any) -> None:
  """Compiles a mapped step in every process before any of them runs it.

  Compilers take their time, and the first processes that are ready would wait
  for the others within a collective, which gives up after 30 s (Gloo).

  Args:
    step: from `Mapping.step`.
    *args: what it will be called with first.
  """
  if num_processes() == 1:
    return
  step.lower(*args).compile()  # JAX keeps it for the call.
  # There is no public way to wait that is not a collective.
  client: Any = distributed.global_state.client
  client.wait_at_barrier(
      'hybridseg_compiled', 1000 * _COMPILATION_TIMEOUT_S)


def any_process(flag: bool) -> bool:
  """Returns whether any process says so; all must ask at the same step."""
  if num_processes() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def is_primary() -> bool:
  """Returns whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def exit_now(code: int) -> NoReturn:
  """Ends this process without the wait for the others that an exit includes.

  For an error in a run of several processes, which then end, too: by a normal
  exit this one would wait for them at the end, and they for it at the step, for
  five minutes.

  Args:
    code: exit code of the process.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
