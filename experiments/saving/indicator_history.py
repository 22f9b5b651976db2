"""Keeps the indicators of all weak instances at each evaluation.

RUN/indicator_history/STEP.npy holds the indicators after STEP updates, float32
[N], or [N, K - 1] for those of classes. A file is written once, before the
checkpoint that names it with its sha256. A checkpoint thus takes no more room
and time after many evaluations, and a run that is killed at any moment resumes
with exactly the files that its checkpoint names.

Checkpoints of older versions hold all indicators themselves, in history.npz.
"""

from collections.abc import Callable, Sequence
from concurrent import futures
import contextlib
import hashlib
import os
from typing import Any

from data_prep.shared import system_errors
from data_prep.shared import whole_file
import numpy as np

from experiments import binary
from experiments.building import class_indicators
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import run_schema

FOLDER = 'indicator_history'
_NAMED = {
    'indicator_history': [{'step': run_schema.COUNT, 'sha256': run_schema.TEXT}]
}


class History(Sequence[np.ndarray]):
  """One indicator per instance at each of T evaluations, float32 [N] each.

  The indicators of an evaluation are read from the disk when they are needed.

  Attributes:
    steps: step of each evaluation, int [T].
  """

  def __init__(
      self, steps: Sequence[int], read_fn: Callable[[int], np.ndarray]):
    self.steps = np.array(steps, np.int64)
    self._read_fn = read_fn

  def __len__(self):
    return len(self.steps)

  def __getitem__(self, index):
    return np.asarray(
        class_indicators.of_instances(self._read_fn(range(len(self))[index])))


def read(workdir: str, checkpoint: checkpoints_lib.Checkpoint) -> History:
  """Returns the history up to a checkpoint of a run of any version.

  Args:
    workdir: folder of the run.
    checkpoint: restored checkpoint of the run.

  Raises:
    binary.UserError: if a file is missing, or is not the one that the
      checkpoint names.
  """
  shape = np.shape(checkpoint.state.indicators.weights)
  if checkpoint.history is not None:
    try:
      steps = checkpoint.history['step'].tolist()
      rows = checkpoint.history['indicators']
      if len(steps) != len(rows) or any(row.shape != shape for row in rows):
        raise ValueError('The shapes do not fit.')
    except (KeyError, TypeError, ValueError) as e:
      raise binary.UserError(
          'history.npz of the checkpoint is not as a run writes it: move the '
          'checkpoint away to use the one before.') from e
    return History(steps, rows.__getitem__)
  paths = []
  for file in _named(checkpoint):
    path = _path(workdir, file['step'])
    fault = _fault(path, file['sha256'], shape)
    if fault:
      raise binary.UserError(
          f'{path} {fault}, and checkpoint {checkpoint.step} of the run needs '
          'it: restore it, or use another --workdir.')
    paths.append((file['step'], path))
  return _of_files(paths)


def _fault(path, sha256, shape):
  """Returns what is wrong with a file; '' if nothing is."""
  try:
    with open(path, 'rb') as f:
      intact = hashlib.file_digest(f, 'sha256').hexdigest() == sha256
    intact = intact and np.load(path, mmap_mode='r').shape == shape
  except OSError as e:
    return f'cannot be read ({e.strerror})'
  except ValueError:
    intact = False
  return '' if intact else 'was changed'


def _named(checkpoint):
  run_schema.check(
      checkpoint.session, _NAMED, 'session.json of the checkpoint')
  return checkpoint.session['indicator_history']


def _path(workdir, step):
  return os.path.join(workdir, FOLDER, f'{step:010d}.npy')


def _of_files(paths):
  return History(
      [step for step, _ in paths],
      lambda i: np.load(paths[i][1], mmap_mode='r'))


class Recorder:
  """Writes the files of a run, in a thread of its own."""

  def __init__(self, workdir: str):
    """Initializes the recorder of a folder, without writing to it."""
    self._workdir = workdir
    self._files = {}  # Maps each step to the future sha256 of its file.
    self._pool = futures.ThreadPoolExecutor(1)

  def resume(self, checkpoint: checkpoints_lib.Checkpoint | None) -> None:
    """Goes on from a checkpoint.

    Files that the checkpoint does not name are removed, because their steps are
    done again. If it is of an older version, its history is written as files.
    Only the process that holds the lock of the folder may call this.

    Args:
      checkpoint: the checkpoint; None if the run starts at step 0.

    Raises:
      binary.UserError: see `read`; or if the files cannot be written.
    """
    history = None if checkpoint is None else read(self._workdir, checkpoint)
    try:
      if history is not None and checkpoint.history is not None:
        for step, row in zip(
            history.steps.tolist(), checkpoint.history['indicators'],
            strict=True):
          self.add(step, row)
        self.files()()
        with contextlib.suppress(FileNotFoundError):
          os.remove(os.path.join(self._workdir, f'{FOLDER}.npz'))
      elif history is not None:
        for file in _named(checkpoint):
          self._files[file['step']] = future = futures.Future()
          future.set_result(file['sha256'])
      folder = os.path.join(self._workdir, FOLDER)
      kept = {os.path.basename(_path('', step)) for step in self._files}
      # Whoever made the folder of the run may have made it a link to another.
      if os.path.isdir(folder) and not os.path.islink(folder):
        for name in set(os.listdir(folder)) - kept:
          if name.endswith(('.npy', '.npy.tmp')):
            os.remove(os.path.join(folder, name))
    except OSError as e:
      raise binary.UserError(
          system_errors.in_words(e, e.filename or self._workdir)) from e

  def add(self, step: int, indicators: np.ndarray) -> None:
    """Writes the indicators of an evaluation in the background.

    Args:
      step: number of updates done.
      indicators: indicators as the state holds them; nobody may change them.
    """
    self._files[step] = self._pool.submit(
        _write, _path(self._workdir, step), indicators)

  def files(self) -> Callable[[], list[dict[str, Any]]]:
    """Returns a function that waits until all files so far are on the disk.

    It returns the step and the sha256 of each file, and raises an OSError if a
    file could not be written. A checkpoint that is written in the background
    calls it, while the run goes on.
    """
    files = dict(self._files)
    return lambda: [
        {'step': step, 'sha256': f.result()} for step, f in files.items()]

  def history(self) -> History:
    """Returns the history so far; all files must be on the disk."""
    return _of_files([(step, _path(self._workdir, step))
                      for step in self._files])


def _write(path, indicators):
  """Writes a file, and returns its sha256 when it is on the disk."""
  folder = os.path.dirname(path)
  os.makedirs(folder, exist_ok=True)
  with whole_file.open_whole(path, 'wb') as f:
    np.save(f, np.asarray(indicators, np.float32))
    whole_file.sync(f)
  whole_file.sync_folder(folder)
  with open(path, 'rb') as f:
    return hashlib.file_digest(f, 'sha256').hexdigest()
