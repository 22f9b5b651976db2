"""Runs training and evaluation steps on several devices and processes.

This is the only module that maps functions over devices, shards arrays or
counts devices. Each device runs the same step on its own rows of the batch, and
results are averaged over all devices along a named axis. The step is mapped by
`jax.pmap`, or by a `shard_map` over a mesh within `jax.jit`; both give the same
numbers. `make_mapping` hides this choice and the number of processes: every
process makes the same calls with the same global batches and keeps its own
rows.
"""

from collections.abc import Callable, Sequence
import os
import sys
from typing import Any, NamedTuple, NoReturn
import warnings

import jax
from jax._src import clusters
from jax._src import distributed
from jax.experimental import multihost_utils
import numpy as np

_AXIS_NAME = 'batch'
_COMPILATION_TIMEOUT_S = 1800
_JOIN_TIMEOUT_S = 300
_ALL = jax.sharding.PartitionSpec()
_ROWS = jax.sharding.PartitionSpec(_AXIS_NAME)


class Mapping(NamedTuple):
  """The functions that run steps on several devices.

  Attributes:
    step: maps a step function, (state, batch, key) -> (state, metrics), over
      all devices and compiles it. The step function must be built with
      `axis_name` and return values that are the same on all devices, which is
      not checked. The state is donated to each call: do not read it again.
    eval: maps a function, (params, examples [B, ...]) -> outputs [B, ...], over
      devices and compiles it. Outputs have the order of the examples. Only the
      devices of this process are used, so that no process waits for another; B
      is a multiple of `num_local_devices`. The result also has `lower`, which
      takes the same arguments, or their shapes, as that of `jax.jit` does.
    replicate: copies a state or a key, the same in every process, to all
      devices. The copy is placed in the same way as the results of a step;
      otherwise, the second call of the step would compile again.
    place_batch: turns a batch of *global* arrays [B, ...], the same in every
      process, into the argument of `step`; B is a multiple of `num_devices`.
    axis_name: name of the mapped axis, with which the step must be built.
    num_devices: number of devices of all processes, over which a training batch
      is split.
    num_local_devices: number of devices of this process.
  """

  step: Callable[[Callable[..., Any]], Callable[..., Any]]
  eval: Callable[[Callable[..., Any]], 'Evaluation']
  replicate: Callable[[Any], Any]
  place_batch: Callable[[Any], Any]
  axis_name: str
  num_devices: int
  num_local_devices: int


def make_mapping(
    kind: str = 'pmap', *, devices: Sequence[jax.Device] | None = None
) -> Mapping:
  """Returns the functions that run a step on `devices`.

  Args:
    kind: 'pmap', whose arrays lie in this process, or 'jit', whose arrays span
      all processes.
    devices: devices of all processes, the same list in each process; None uses
      all devices.

  Returns:
    The mapping.

  Raises:
    ValueError: if `kind` is unknown.
  """
  if kind not in _KINDS:
    raise ValueError(f'Unknown mapping {kind!r}; known: {sorted(_KINDS)}.')
  # Sort the devices, so that the rows of one process are consecutive.
  devices = sorted(devices or jax.devices(), key=lambda d: d.process_index)
  mesh = jax.sharding.Mesh(
      np.array(devices),
      (_AXIS_NAME,),
      axis_types=(jax.sharding.AxisType.Auto,),
  )
  step, replicate, place_batch = _KINDS[kind](mesh)
  return Mapping(
      step=step,
      eval=lambda eval_fn: Evaluation(eval_fn, mesh.local_mesh),
      replicate=replicate,
      place_batch=place_batch,
      axis_name=_AXIS_NAME,
      num_devices=mesh.size,
      num_local_devices=mesh.local_mesh.size,
  )


def _pmap(mesh):
  """Returns the `step`, `replicate` and `place_batch` that use `jax.pmap`."""
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
  """Returns the `step`, `replicate` and `place_batch` that use `jax.jit`."""
  everywhere = jax.sharding.NamedSharding(mesh, _ALL)
  rows = jax.sharding.NamedSharding(mesh, _ROWS)

  def step(step_fn):
    # With jit alone, the compiler would split a step on the global batch, and
    # every device would compute the gradients of single instances for the whole
    # batch (see `linearization`).
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
    with jax.transfer_guard_host_to_device('allow'):  # This is intended.
      return jax.tree.map(place, batch)

  return step, lambda tree: _replicate(tree, mesh), place_batch


_KINDS = {'jit': _jit, 'pmap': _pmap}


def _shard_map(fn, mesh, in_specs, out_specs):
  # check_vma=True would sum the gradients of replicated parameters, but the
  # step averages them itself.
  return jax.shard_map(
      fn, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
  )


class Evaluation:
  """A function of parameters and examples, see `Mapping.eval`."""

  def __init__(self, eval_fn: Callable[..., Any], mesh: jax.sharding.Mesh):
    self._mesh = mesh
    self._mapped = jax.jit(_shard_map(eval_fn, mesh, (_ALL, _ROWS), _ROWS))
    self._rows = jax.sharding.NamedSharding(mesh, _ROWS)

  def __call__(self, params: Any, examples: Any) -> Any:
    _check_rows(examples, self._mesh.size)
    return self._mapped(
        _seen_from(params, self._mesh), jax.device_put(examples, self._rows))

  def lower(self, params: Any, examples: Any) -> jax.stages.Lowered:
    return self._mapped.lower(
        _seen_from(params, self._mesh), jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=self._rows), examples))


def _replicate(tree, mesh):
  local = jax.sharding.NamedSharding(mesh.local_mesh, _ALL)

  def place(x):
    # The caller traces this function only to learn the shapes of its results.
    if isinstance(x, jax.core.Tracer):
      return x
    # Copy through the host: the result of device_put can share the buffer of
    # its argument, even with may_alias=False, and the first step would donate
    # it. A key is not donated, and has no NumPy form.
    is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return jax.device_put(x if is_key else to_host(x), local)

  return _seen_from(jax.tree.map(place, tree), mesh)


def _seen_from(tree, mesh):
  """Returns replicated arrays as arrays of `mesh`, without copying them.

  The buffers on the devices of this process stay the same. The result differs
  only in whether it also includes the buffers of other processes.
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
    ValueError: if B is not a multiple of D.
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
  """Copies a tree of arrays to NumPy, without waiting for other processes.

  An array that spans several processes must be replicated, so that this process
  has a whole copy of it.

  Args:
    tree: pytree of arrays that are the same on all devices, or that lie
      entirely in this process.

  Returns:
    The same values as NumPy arrays.

  Raises:
    ValueError: if a part of an array is only in another process.
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


def find_cluster(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> tuple[str | None, int | None, int | None]:
  """Completes the place of this process from the variables of the cluster.

  It finds what `initialize` would, but starts nothing. As there, a process of
  Slurm or Open MPI then sees one GPU, that of its number on the host.

  Returns:
    The arguments, see `initialize`, with None for what is still not known.
  """
  coordinator_address = coordinator_address or os.environ.get(
      'JAX_COORDINATOR_ADDRESS')
  is_known = None not in (coordinator_address, num_processes, process_id)
  with warnings.catch_warnings():
    if is_known:  # Then, JAX need not say that it cannot find them.
      warnings.simplefilter('ignore')
    # This class is internal, but no public function only looks.
    address, number, index, local_devices = (
        clusters.ClusterEnv.auto_detect_unset_distributed_params(
            coordinator_address, num_processes, process_id, None, None,
            _JOIN_TIMEOUT_S))
  if local_devices is not None:
    visible = ','.join(map(str, local_devices))
    jax.config.update('jax_cuda_visible_devices', visible)
    jax.config.update('jax_rocm_visible_devices', visible)
  return address, number, index


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout_s: int = 30,
) -> None:
  """Connects this process to the others of a run.

  Call it before any use of a device.

  Without arguments, the environment variables of the cluster (Slurm, Open MPI,
  Kubernetes, Cloud TPU) define the processes. Wraps
  `jax.distributed.initialize`.

  When a process dies, the others end in one of two ways, whichever comes first.
  As soon as the connections to the dead process break (on CPUs), the others
  raise `jax.errors.JaxRuntimeError` where they wait for the result of a step.
  After the heartbeat's timeout, JAX aborts them.

  Args:
    coordinator_address: host:port of process 0, the same in every process.
    num_processes: number of processes.
    process_id: index of this process, from 0.
    heartbeat_timeout_s: seconds after which a process that does not answer
      counts as dead.
  """
  jax.distributed.initialize(
      coordinator_address=coordinator_address,
      num_processes=num_processes,
      process_id=process_id,
      heartbeat_timeout_seconds=heartbeat_timeout_s,
  )


def num_processes() -> int:
  """Returns the number of processes of this run, without touching devices."""
  if not jax.distributed.is_initialized():
    return 1
  return jax.process_count()


def compile_together(step: jax.stages.Wrapped, *args: Any) -> None:
  """Compiles a mapped step in every process before any of them runs it.

  Compilation can take long, and a process that is ready first would wait for
  the others within a collective, which gives up after 30 s (Gloo).

  Args:
    step: from `Mapping.step`.
    *args: arguments of the first call.
  """
  if num_processes() == 1:
    return
  step.lower(*args).compile()  # JAX caches the result for the first call.
  # This client is internal, but the only public barrier of JAX is a collective.
  client: Any = distributed.global_state.client
  client.wait_at_barrier(
      'hybridseg_compiled', 1000 * _COMPILATION_TIMEOUT_S)


def any_process(flag: bool) -> bool:
  """Returns whether the flag is True in any process.

  Every process must call this function at the same step.
  """
  if num_processes() == 1:
    return flag
  return bool(np.any(multihost_utils.process_allgather(np.array(flag))))


def is_primary() -> bool:
  """Returns whether this is process 0, which writes files and prints."""
  return jax.process_index() == 0


def exit_now(code: int) -> NoReturn:
  """Ends this process at once, without waiting for the others.

  Call it after an error in a run of several processes; the others then end,
  too. A normal exit would wait for them for five minutes, while they wait in
  the step for this process.

  Args:
    code: exit code of the process.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)
