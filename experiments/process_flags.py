"""Defines the flags that tell a process its place among those of its job."""

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:  # Slow to import, and not needed for --help.
  from experiments import process_group

_DISTRIBUTED = flags.DEFINE_bool(
    'distributed', False,
    'Run as one of several processes that find each other.')
_COORDINATOR = flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of process 0, for several processes.')
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', None, 'Number of processes.', lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer(
    'process_id', None, 'Number of this process, from 0.', lower_bound=0)


def find() -> 'process_group.Place | None':
  """Returns the place of this process; None if it is alone.

  Raises:
    binary.UserError: if the flags, or the cluster, do not tell it.
  """
  from experiments import binary
  from experiments import process_group
  from hybridseg import parallel

  if not (_DISTRIBUTED.value or _COORDINATOR.value):
    if _NUM_PROCESSES.value is not None or _PROCESS_ID.value is not None:
      raise binary.UserError(
          '--num_processes and --process_id need --coordinator=HOST:PORT.')
    return None
  place = parallel.find_cluster(
      coordinator_address=_COORDINATOR.value,
      num_processes=_NUM_PROCESSES.value, process_id=_PROCESS_ID.value)
  if None in place:
    raise binary.UserError(
        'The environment does not tell the number of this process: give '
        '--coordinator=HOST:PORT, --num_processes and --process_id.')
  found = process_group.Place(*place)
  if not found.index < found.number:
    raise binary.UserError(
        f'--process_id={found.index}: expected a number below '
        f'--num_processes={found.number}.')
  return found


def join() -> 'contextlib.AbstractContextManager[process_group.Group]':
  """Connects this process with the others, see `process_group.join`."""
  from experiments import process_group

  values = flags.FLAGS.flag_values_dict()
  job = json.dumps(
      {name: value for name, value in values.items() if name != 'process_id'},
      sort_keys=True, default=str)
  return process_group.join(find(), hashlib.sha256(job.encode()).hexdigest())
