"""Measures where the time of a session goes."""

from collections.abc import Iterator
import contextlib
import time

from experiments.saving import run_log

# The parts of a session, in the order of a run. A session that resumes a
# finished run has no steps.
PARTS = (
    'start', 'compile', 'steps', 'validation', 'checkpoints', 'evaluation',
    'pictures', 'report')


class Clock:
  """Adds up the wall time of each part of a session.

  At any time, exactly one part is running, at first 'start'. Within each part,
  the time in which programs are compiled, or read from the disk, counts as
  'compile'.
  """

  def __init__(self):
    self._seconds = dict.fromkeys(PARTS, 0.0)
    self._part = 'start'
    self._since = self._now()

  def begin(self, part: str) -> None:
    """Ends the part that is running, and begins another."""
    now = self._now()
    total, compiled = (n - s for n, s in zip(now, self._since, strict=True))
    self._seconds['compile'] += compiled
    self._seconds[self._part] += total - compiled
    self._part, self._since = part, now

  @contextlib.contextmanager
  def within(self, part: str) -> Iterator[None]:
    """Begins a part, and at its end returns to the part before it."""
    before = self._part
    self.begin(part)
    try:
      yield
    finally:
      self.begin(before)

  def seconds(self) -> dict[str, float]:
    """Returns the seconds of each part so far, to hundredths."""
    self.begin(self._part)
    return {part: round(max(s, 0.0), 2) for part, s in self._seconds.items()}

  @staticmethod
  def _now():
    return time.monotonic(), run_log.compilation_seconds()
