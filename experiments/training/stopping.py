"""Stops training on SIGTERM or Ctrl-C, after a checkpoint was saved."""

import os
import signal
import threading
import time

# This must be well below 30 s, after which SLURM and Kubernetes send SIGKILL.
_PATIENCE_S = 8.0


class StopRequest:
  """A context in which SIGTERM and Ctrl-C stop the training after a step.

  Python handles a signal only between two of its own instructions. While XLA
  compiles a program, the next instruction can be minutes away. If there is
  nothing to save, a thread therefore ends the process `patience_s` after the
  signal.

  Attributes:
    nothing_to_save: whether the process may end without a loss, because
      everything that it computed is in a checkpoint or can be computed again
      from the config.
  """

  def __init__(self, patience_s: float = _PATIENCE_S):
    self.nothing_to_save = True
    self._patience_s = patience_s
    self._requested = threading.Event()
    # Whether a first Ctrl-C was handled. `_requested` does not show this,
    # because the watching thread may set it before the signal is handled.
    self._interrupted = False
    self._previous = {}
    self._read, self._write = None, None

  def __call__(self, unused_step: int) -> bool:
    """Returns whether the training should stop after this step."""
    return self._requested.is_set()

  def __enter__(self) -> 'StopRequest':
    if threading.current_thread() is not threading.main_thread():
      return self  # Python lets only the main thread handle signals.
    self._read, self._write = os.pipe()
    os.set_blocking(self._write, False)
    threading.Thread(
        target=self._watch, args=(self._read,), daemon=True).start()
    for number in signal.SIGTERM, signal.SIGINT:
      self._previous[number] = signal.signal(number, self._handle)
    # The C code of Python writes each signal to this pipe at once, even while
    # XLA compiles. The watching thread reads it.
    self._previous_fd = signal.set_wakeup_fd(
        self._write, warn_on_full_buffer=False)
    return self

  def __exit__(self, *unused_exception):
    if self._write is None:
      return
    signal.set_wakeup_fd(self._previous_fd)
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    os.close(self._write)  # Ends the watching thread.

  def _handle(self, number, unused_frame):
    if number == signal.SIGINT:
      if self._interrupted:
        raise KeyboardInterrupt  # This is the second Ctrl-C.
      self._interrupted = True

  def _watch(self, descriptor):
    while number := os.read(descriptor, 1):
      if number[0] not in (signal.SIGTERM, signal.SIGINT):
        continue
      self._requested.set()
      time.sleep(self._patience_s)
      if self.nothing_to_save:
        print('Stopped before anything new was computed: the same command '
              'starts or resumes the run.', flush=True)
        os._exit(0)
    os.close(descriptor)
