"""Writes the lines of log.jsonl for TensorBoard, too.

`trainer.train_and_evaluate` passes each new line to the function that its
argument `listen` returns. This module is one such function; others for Weights
& Biases or MLflow are a few lines, see docs/runs.md. log.jsonl stays the
record of the run.
"""

from collections.abc import Callable, Mapping
import importlib.util
import os
import time
from typing import Any

from experiments import binary

FOLDER = 'tensorboard'


def check_installed() -> None:
  """Checks before any work that `listen` has the package that it needs.

  Raises:
    binary.UserError: if tensorboardX is not installed.
  """
  if importlib.util.find_spec('tensorboardX') is None:
    raise binary.UserError(
        "--tensorboard needs tensorboardX: pip install -e '.[tensorboard]'.")


def listen(workdir: str, step: int) -> Callable[[Mapping[str, Any]], None]:
  """Returns a function that writes each line that it is given.

  Numbers become scalars under their names, and warnings become texts. What has
  no value at a step, and why an update was skipped, is only in log.jsonl. Each
  line is in the file before the function returns.

  Args:
    workdir: folder of the run; each session writes one file to its folder
      tensorboard.
    step: number of updates done at the start of the session. If an earlier
      session got further before it was killed, TensorBoard forgets what that
      session wrote after this step.
  """
  # pylint: disable=g-import-not-at-top
  from tensorboardX import record_writer
  from tensorboardX import summary
  from tensorboardX.proto import event_pb2
  folder = os.path.join(workdir, FOLDER)
  os.makedirs(folder, exist_ok=True)
  # A SummaryWriter would put the name of the machine into that of the file, and
  # would overwrite the file of a session that started in the same second.
  records = record_writer.RecordWriter(os.path.join(
      folder, f'events.out.tfevents.{int(time.time()):010d}.{step}'))

  def add(**fields):
    event = event_pb2.Event(wall_time=time.time(), **fields)
    records.write(event.SerializeToString())

  def write(line):
    for name, value in line.items():
      if name == 'warning':
        add(step=line['step'], summary=summary.text(name, value))
      elif name != 'step' and isinstance(value, int | float):
        add(step=line['step'], summary=summary.scalar(name, value))
    records.flush()

  add(file_version='brain.Event:2')
  if step:
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    add(step=step + 1, session_log=start)
  records.flush()
  return write
