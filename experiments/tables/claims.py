"""Claims of work that processes on one or several machines share.

A claim is a folder that holds one empty file. The name of the file tells who
works: `free` is nobody, `held_HOST_MACHINE_PID_START_TOKEN_BEAT` is a process,
and `done_MACHINE` tells that the work is done. All that ever happens to the
file is `os.rename` within its folder:

- A process takes the claim by renaming the file from `free` to its own name.
- While it works, it renames the file every `BEAT_S` seconds: to the next beat.
- Another process takes the claim over, from a name that has not changed for
  `LEASE_S` seconds, or at once if the holder was a process of this machine that
  has ended.

A rename has one winner, because it needs the old name, and no holder uses a
name twice. Whoever comes late gets an error, no matter how long it was
suspended after it had looked at the folder. On a network file system, the
server decides: a client with an outdated list of names only loses. A file with
a fixed name that is replaced at each beat has none of these properties.

Clocks of machines are never compared. A process measures on its own clock how
long a name has not changed. A holder measures on its own clock, which counts
suspends, how long ago its last beat began. `Claim.check` says that it may write
only if that was less than half of `LEASE_S` ago, and beats first if that was
more than a second ago. No process can therefore take over meanwhile.
"""

from collections.abc import Callable
import contextlib
import functools
import os
import secrets
import shutil
import sys
import threading
import time

from experiments.tables import claim_holders

BEAT_S = 10.0
LEASE_S = 60.0
_FREE = 'free'


class Lost(Exception):
  """Raised if another process has taken a claim over; one line says so."""


def holder(folder: str) -> claim_holders.Holder | None:
  """Returns the other process that holds a claim.

  The result is None if the claim is free, and if its holder is this process or
  has ended. Whether a process of another machine has ended is not known.

  Args:
    folder: folder of the claim; it need not exist.
  """
  found = claim_holders.parse(_look(folder) or _FREE)
  if found is None or found.has_ended():
    return None
  return None if found.is_this_process() else found


class Claim:
  """A claim that this process holds until the end of its context."""

  def __init__(
      self, folder: str, own: claim_holders.Holder, began: float,
      clock: Callable[[], float],
  ):
    """Made by `Claimant.take`, which has begun its rename at `began`."""
    self._folder, self._own = folder, own
    self._renewed, self._clock = began, clock
    self._is_lost, self._end = False, _FREE
    self._mutex, self._stop = threading.Lock(), threading.Event()

  def __enter__(self) -> 'Claim':
    threading.Thread(target=self._beat, daemon=True).start()
    return self

  def __exit__(self, *unused_exception):
    self._stop.set()
    with self._mutex, contextlib.suppress(OSError):
      if not self._is_lost:
        self._move(self._end)
      self._is_lost = True

  def check(self) -> None:
    """Returns if this process may write now.

    Raises:
      Lost: if another process has taken the claim over.
      OSError: if the disk has not answered for half of `LEASE_S`.
    """
    age = self._clock() - self._renewed
    if age > BEAT_S / 10 or self._is_lost:
      try:
        self.renew()
      except OSError:
        if age > LEASE_S / 2:
          raise
    if self._is_lost:
      other = holder(self._folder)
      raise Lost(
          f'it was taken over by {other.words if other else "another process"},'
          f' as this one gave no sign for {age:.0f} s (was it suspended?)')

  def renew(self) -> None:
    """Renews the claim, or notes that it is lost."""
    with self._mutex:
      if self._is_lost:
        return
      began = self._clock()
      following = self._own._replace(beat=self._own.beat + 1)
      if self._move(following.name):
        self._own, self._renewed = following, began
      else:
        self._is_lost = True

  def finish(self) -> None:
    """Notes that the work is done, once the context ends.

    Processes of this machine see the results and can still take the claim. A
    client of a network file system may not know the results yet, and leaves the
    claim alone until it has watched it for `LEASE_S`.
    """
    self._end = f'done_{claim_holders.machine()}'

  def _move(self, name):
    return _move(self._folder, self._own.name, name)

  def _beat(self):
    while not self._stop.wait(BEAT_S):
      with contextlib.suppress(OSError):  # The next beat may succeed.
        self.renew()


class Claimant:
  """Takes claims, and remembers for how long others have given no sign."""

  def __init__(
      self,
      *,
      clock: Callable[[], float] = functools.partial(
          time.clock_gettime, getattr(time, 'CLOCK_BOOTTIME',
                                      time.CLOCK_MONOTONIC)),
      awake: Callable[[], float] = time.monotonic,
      sleep: Callable[[float], None] = time.sleep,
  ):
    """Takes functions that tests replace.

    Args:
      clock: returns seconds that include the time for which the machine slept.
      awake: returns seconds that need not.
      sleep: waits for some seconds.
    """
    self._clock, self._awake, self._sleep = clock, awake, sleep
    self._seen = {}  # Folder: name, when it was last seen, and for how long.

  def take(
      self, folder: str, *, in_use: Callable[[], bool] = lambda: False
  ) -> Claim | None:
    """Takes a claim, unless another process holds it.

    Args:
      folder: folder of the claim; it is made if it does not exist.
      in_use: function that returns whether the work must be left alone, even if
        nobody holds the claim.

    Raises:
      OSError: if the folder cannot be read or written.
    """
    if _look(folder) is None:
      _make(folder)
    name = _look(folder)
    if name is None:  # Seen in the moment of a rename.
      return None
    found, why = claim_holders.parse(name), ''
    if found is not None and found.has_ended():
      why = 'has ended'
    elif name not in (_FREE, f'done_{claim_holders.machine()}'):
      if not self._is_silent(folder, name):
        return None
      why = f'has given no sign for {LEASE_S:g} s'
    if in_use():
      return None
    own = claim_holders.this_process()
    began = self._clock()
    if not _move(folder, name, own.name):
      return None
    if found is not None:
      print(f'notice: takes over from {found.words}, which {why}',
            file=sys.stderr, flush=True)
    return Claim(folder, own, began, self._clock)

  def pause(self) -> None:
    """Waits until it makes sense to look at claims of others again."""
    self._sleep(BEAT_S / 5)

  def wait(
      self, folder: str, what: str, *,
      until: Callable[[], bool] = lambda: False,
  ) -> Claim | None:
    """Takes a claim as soon as nobody else holds it.

    Args:
      folder: folder of the claim.
      what: what the other process does, for a line to the user.
      until: function that returns whether the claim is no longer needed; the
        result is then None.
    """
    waited, pause = 0.0, BEAT_S / 200
    while not until():
      claim = self.take(folder)
      if claim is not None:
        return claim
      self._sleep(pause)
      if waited < BEAT_S <= waited + pause:
        other = holder(folder)
        print(f'Waiting for {other.words if other else "another process"}, '
              f'which {what}.', flush=True)
      waited, pause = waited + pause, min(2 * pause, BEAT_S / 5)
    return None

  def _is_silent(self, folder, name):
    """Returns whether a name was watched for `LEASE_S` without a change.

    If this process was suspended meanwhile, the holder may have been, too. A
    look therefore counts for at most `BEAT_S` since the last one.
    """
    now = self._awake()
    before, last, total = self._seen.get(folder, ('', now, 0.0))
    total = total + min(now - last, BEAT_S) if before == name else 0.0
    self._seen[folder] = name, now, total
    return total >= LEASE_S


def _look(folder):
  """Returns the name of the file of a claim; None if there is none."""
  try:
    found = [name for name in os.listdir(folder)
             if name == _FREE or name.startswith('done_') or
             claim_holders.parse(name)]
  except FileNotFoundError:
    return None
  return found[0] if found else None


def _move(folder, old, new):
  """Renames the file of a claim; returns whether it had the old name."""
  try:
    os.rename(os.path.join(folder, old), os.path.join(folder, new))
  except FileNotFoundError:
    # A network file system may carry out a request twice, if its first answer
    # was lost.
    return claim_holders.parse(new) is not None and os.path.exists(
        os.path.join(folder, new))
  return True


def _make(folder):
  """Makes the folder of a claim with its file, unless it is there.

  A rename cannot replace a folder that holds a file. A claim has therefore one
  file, even if many processes make it at the same time.
  """
  parent = os.path.dirname(folder)
  os.makedirs(parent, exist_ok=True)
  new = os.path.join(parent, f'.new-{secrets.token_hex(6)}')
  os.mkdir(new)
  try:
    with open(os.path.join(new, _FREE), 'x', encoding='utf-8'):
      pass
    os.rename(new, folder)
  except OSError:
    shutil.rmtree(new, ignore_errors=True)
    if not os.path.isdir(folder):
      raise
