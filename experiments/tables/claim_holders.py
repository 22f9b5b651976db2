"""Describes the process that holds a claim, in the name of a file.

See `experiments.tables.claims`.
"""

import functools
import hashlib
import os
import platform
import re
import secrets
from typing import NamedTuple


class Holder(NamedTuple):
  """A process that holds a claim.

  Attributes:
    host: name of its machine, for people.
    machine: hash of what distinguishes the machine (or container) since its
      start.
    pid: number of the process.
    start: when the process started, in ticks of its machine; 0 if unknown.
    token: distinguishes all claims of all processes.
    beat: how often the holder has renewed the claim.
  """

  host: str
  machine: str
  pid: int
  start: int
  token: str
  beat: int = 0

  @property
  def name(self) -> str:
    return '_'.join(('held', *map(str, self)))

  @property
  def words(self) -> str:
    return f'process {self.pid} on {self.host}'

  def is_this_process(self) -> bool:
    return (self.machine, self.pid) == (machine(), os.getpid())

  def has_ended(self) -> bool:
    """Returns whether this is a process of this machine that has ended."""
    if self.machine != machine():
      return False
    try:
      os.kill(self.pid, 0)
    except ProcessLookupError:
      return True
    except PermissionError:
      pass
    found = _state_and_start(self.pid)
    # /proc may hide the processes of other users, which are then alive.
    return found is not None and (
        found[0] in 'ZX' or found[1] != self.start)


def this_process() -> Holder:
  """Returns a description of this process, with a new token."""
  found = _state_and_start(os.getpid())
  return Holder(
      re.sub('[^A-Za-z0-9.-]', '-', platform.node())[:60] or 'unnamed',
      machine(), os.getpid(), found[1] if found else 0, secrets.token_hex(6))


def parse(name: str) -> Holder | None:
  """Returns the holder that a name is of; None if it is of none."""
  parts = name.split('_')
  if len(parts) != 7 or parts[0] != 'held' or not all(
      parts[i].isdecimal() for i in (3, 4, 6)):
    return None
  return Holder(parts[1], parts[2], int(parts[3]), int(parts[4]), parts[5],
                int(parts[6]))


@functools.cache
def machine() -> str:
  """Returns a hash of what distinguishes the processes that are visible here.

  The numbers of processes mean something only within one start of a machine,
  and within one container.
  """
  try:
    with open('/proc/sys/kernel/random/boot_id', encoding='utf-8') as file:
      text = file.read() + os.readlink('/proc/self/ns/pid') + platform.node()
  except OSError:  # Not Linux: no process can be found to have ended.
    text = secrets.token_hex()
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def _state_and_start(pid):
  """Returns the state of a process and when it started, in ticks.

  The result is None if the process is not visible.
  """
  try:
    with open(f'/proc/{pid}/stat', 'rb') as file:
      fields = file.read().rpartition(b')')[2].split()
  except OSError:
    return None
  return fields[0].decode(), int(fields[19])
