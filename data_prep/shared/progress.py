"""Prints the progress of a long pass: items done, speed and time left."""

import sys
import time
from typing import TextIO

_EVERY_S = 5.0  # Least number of seconds between two lines.


def minutes(seconds: float) -> str:
  """Returns a duration as people read it: '2m05s'."""
  seconds = round(seconds)
  return f'{seconds // 60}m{seconds % 60:02d}s'


class Progress:
  """Prints a progress line every few seconds, and nothing for a short pass.

  A line looks like this:

    3 of 10 files  1.5 files/s  0m05s left
  """

  def __init__(
      self,
      total: int,
      noun: str,
      *,
      what: str = '',
      before: int = 0,
      to_the_end: bool = False,
      file: TextIO | None = None,
  ):
    """Starts the clock.

    Args:
      total: how many items there are in all.
      noun: what the items are, in the plural.
      what: the start of every line, such as the name of the pass.
      before: how many items were done before this pass; the speed does not
        count them.
      to_the_end: whether to always print a line after the last item.
      file: where to print; stderr if None.
    """
    self._total, self._noun, self._what = total, noun, what
    self._before, self._to_the_end, self._file = before, to_the_end, file
    self._start = self._last_line = time.monotonic()

  def __call__(self, done: int) -> None:
    """Reports that `done` items are finished, including the `before` items."""
    now = time.monotonic()
    is_last = self._to_the_end and done == self._total
    if now - self._last_line < _EVERY_S and not is_last:
      return
    self._last_line = now
    speed = (done - self._before) / max(now - self._start, 1e-9)
    left = (f'  {minutes((self._total - done) / speed)} left' if speed else '')
    print(f'{self._what}{done} of {self._total} {self._noun}  '
          f'{speed:.{3 if 0 < speed < 0.1 else 1}f} {self._noun}/s{left}',
          file=self._file or sys.stderr, flush=True)
