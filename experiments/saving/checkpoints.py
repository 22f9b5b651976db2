"""Writes checkpoints atomically, and verifies them when they are read.

A checkpoint is a folder checkpoints/STEP. It holds the state (Orbax), the run's
record up to that step (session.json), and manifest.json. The manifest is
written last. It lists the size and sha256 of every other file, the step and the
run, and a sha256 of itself. The indicators at earlier evaluations lie in files
of their own, which session.json names: see `indicator_history`.

The folder is written under another name and renamed when it is complete. A
folder that is named after a step was therefore complete at first. If it is
damaged later, it no longer matches its manifest, and an older checkpoint is
used.
"""

from collections.abc import Callable, Sequence
import errno
import functools
import hashlib
import json
import logging as python_logging
import os
import shutil
import threading
from typing import Any, NamedTuple

from absl import logging
from data_prep.shared import system_errors
from data_prep.shared import whole_file
import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments import binary
from experiments.saving import checkpoint_files

_UNFINISHED = '.unfinished-'


class Checkpoint(NamedTuple):
  """One restored checkpoint.

  Attributes:
    step: number of updates done.
    state: the state that was passed to `save`, as NumPy arrays.
    session: the run's record.
    history: the indicators at all evaluations, if an older version wrote the
      checkpoint: `step` [T] and `indicators` [T, N]; otherwise None.
  """

  step: int
  state: Any
  session: dict[str, Any]
  history: dict[str, np.ndarray] | None


def state_sha256(state: Any) -> str:
  """Returns a sha256 of the paths, shapes, dtypes and values of all arrays."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(state):
    leaf = np.ascontiguousarray(leaf)
    digest.update(f'{_name(path)} {leaf.dtype} {leaf.shape}\n'.encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()


class Checkpoints:
  """The checkpoints in the folder of one run.

  Attributes:
    run_ids: ids of the runs to which the checkpoints may belong; () allows any
      run.
  """

  def __init__(
      self,
      workdir: str,
      *,
      run_id: str = '',
      also: Sequence[str] = (),
      max_to_keep: int = 2,
  ):
    """Initializes the checkpoints of a folder, without writing to it.

    Args:
      workdir: folder of the run, which need not exist.
      run_id: id of the run to which the checkpoints belong; '' allows any run.
      also: other ids that are accepted. A run whose config was changed had
        another id before the change.
      max_to_keep: number of newest checkpoints to keep; the best one is kept as
        well.
    """
    self._folder = os.path.join(os.path.abspath(workdir), 'checkpoints')
    self._shown = os.path.join(workdir, 'checkpoints')
    self._run_id = run_id
    self.run_ids = (run_id, *also) if run_id else ()
    self._max_to_keep = max_to_keep
    self._thread = None
    self._error = None

  def steps(self) -> list[int]:
    """Returns the steps of complete checkpoints, newest first."""
    if not os.path.isdir(self._folder):
      return []
    names = os.listdir(self._folder)
    return sorted((int(n) for n in names if n.isdecimal()), reverse=True)

  def save(
      self,
      step: int,
      state: Any,
      session: dict[str, Any],
      history: Callable[[], list[dict[str, Any]]],
      *,
      best_step: int | None = None,
  ) -> None:
    """Writes a checkpoint in the background.

    Args:
      step: number of updates done. If this step already has a checkpoint, that
        one is kept, and nothing is written.
      state: pytree of NumPy arrays, which the caller must not change any more.
      session: the run's record, which can be stored as JSON; it is copied.
      history: value of `indicator_history.Recorder.files`, which is called in
        the background.
      best_step: step of the best evaluation. Its checkpoint is not deleted,
        even if it is old.

    Raises:
      binary.UserError: if the previous save failed.
    """
    self.wait()
    if step in self.steps():
      return
    session = json.dumps(session)
    self._thread = threading.Thread(
        target=self._write, args=(step, state, session, history, best_step))
    self._thread.start()

  def _write(self, step, state, session, history, best_step):
    unfinished = os.path.join(self._folder, f'{_UNFINISHED}{step}')
    try:
      os.makedirs(self._folder, exist_ok=True)
      shutil.rmtree(unfinished, ignore_errors=True)
      _check_room(self._folder, state)
      os.mkdir(unfinished)
      _orbax().save(
          os.path.join(unfinished, 'state'),
          args=ocp.args.StandardSave(_held(state)))
      # Without the files that it names, the checkpoint would be of no use.
      session = json.dumps(
          json.loads(session) | {'indicator_history': history()})
      checkpoint_files.write_file(unfinished, 'session.json', session.encode())
      checkpoint_files.write_file(
          unfinished, 'structure.json', json.dumps(structure(state)).encode())
      checkpoint_files.write_manifest(unfinished, step, self._run_id)
      os.rename(unfinished, os.path.join(self._folder, str(step)))
      whole_file.sync_folder(self._folder)
      self._delete_old(best_step)
    except Exception as e:  # pylint: disable=broad-exception-caught
      # This code runs in a thread. The next `save` or `wait` raises its error.
      shutil.rmtree(unfinished, ignore_errors=True)
      self._error = binary.UserError(
          f'Cannot write checkpoint {self._shown}/{step}: '
          f'{_first_line(e, self._folder)}. '
          f'{self._intact()} Make room, or the folder writable, and start the '
          'same command again.')

  def _intact(self):
    steps = self.steps()
    if not steps:
      return 'There is no earlier one.'
    return f'The one of step {steps[0]} is intact.'

  def _delete_old(self, best_step):
    """Deletes all checkpoints except the newest ones and the best one."""
    for step in self.steps()[self._max_to_keep :]:
      if step != best_step:
        self._delete(str(step))

  def _delete(self, name):
    # Rename the folder first. If the process is killed while it deletes, no
    # incomplete folder with the name of a step remains.
    hidden = os.path.join(self._folder, f'{_UNFINISHED}deleted-{name}')
    os.rename(os.path.join(self._folder, name), hidden)
    shutil.rmtree(hidden)

  def clean(self) -> None:
    """Deletes the unfinished checkpoints that killed sessions left behind.

    Only the process that holds the lock of the folder may call this.
    """
    if os.path.isdir(self._folder):
      for name in os.listdir(self._folder):
        if name.startswith(_UNFINISHED):
          shutil.rmtree(os.path.join(self._folder, name), ignore_errors=True)

  def restore(
      self,
      state: Any,
      *,
      step: int | None = None,
      set_aside: bool = False,
  ) -> Checkpoint | None:
    """Reads the newest intact checkpoint; returns None if none exists.

    Args:
      state: a state with the structure of the one to restore, such as the state
        of a fresh run. Its leaves are arrays, or only shapes and dtypes.
      step: step of the checkpoint to read; None reads the newest intact one.
      set_aside: whether to rename damaged checkpoints that are newer than the
        returned one to STEP.damaged, so that their steps can be written again.
        Only the process that holds the lock of the folder may do so.

    Raises:
      binary.UserError: if checkpoints exist but none is intact, if the one of
        `step` is missing or damaged, or if the checkpoint belongs to another
        model or set.
    """
    steps = self.steps()
    if step is not None:
      if step not in steps:
        raise binary.UserError(
            f'No checkpoint of step {step} in {self._shown}; there are '
            f'{sorted(steps)}.')
      steps = [step]
    damaged = []
    for candidate in steps:
      folder = os.path.join(self._folder, str(candidate))
      try:
        checkpoint_files.verify(folder, candidate, self.run_ids)
      except checkpoint_files.Damaged as e:
        damaged.append((folder, e))
        continue
      for other, why in damaged:
        logging.warning(
            'Checkpoint %s/%s is damaged (%s): not used.', self._shown,
            os.path.basename(other), why)
      restored = self._read(folder, candidate, state)
      # Only rename damaged checkpoints if an older one is intact. Otherwise the
      # next session would find none, and would silently start from step 0.
      if set_aside:
        for other, _ in damaged:
          checkpoint_files.set_aside(other)
      return restored
    if steps:
      raise binary.UserError(
          f'No intact checkpoint in {self._shown}: all of {sorted(steps)} are '
          f'damaged ({damaged[0][1]!s:.60}). Move the folder away to start '
          'this run from step 0.')
    return None

  def _read(self, folder, step, state):
    try:
      saved = _read_json(folder, 'structure.json')
      expected = structure(state)
      for path in sorted(saved.keys() | expected.keys()):
        if saved.get(path) != expected.get(path):
          raise binary.UserError(
              f'Checkpoint {self._shown}/{step} is of another model or set: '
              f'{path:.60} is {describe(saved.get(path))} there, '
              f'{describe(expected.get(path))} here. Use the run\'s own '
              'config, or another workdir.')
      like = jax.tree.map(lambda x: np.empty(x.shape, x.dtype), _held(state))
      restored = _orbax().restore(
          os.path.join(folder, 'state'), args=ocp.args.StandardRestore(like))
      if hasattr(state, '_replace'):
        restored = state._replace(**restored)
      session = _read_json(folder, 'session.json')
      path, history = os.path.join(folder, 'history.npz'), None
      if os.path.exists(path):
        with np.load(path) as arrays:
          history = dict(arrays)
    except binary.UserError:
      raise
    except Exception as e:  # With a forged manifest, any error may occur.
      raise binary.UserError(
          f'Checkpoint {self._shown}/{step} cannot be read '
          f'({_first_line(e):.80}): move it away to use the one before.') from e
    return Checkpoint(step, restored, session, history)

  def wait(self) -> None:
    """Waits until the last save is complete.

    Raises:
      binary.UserError: if that save failed.
    """
    if self._thread is not None:
      self._thread.join()
      self._thread = None
    if self._error is not None:
      error, self._error = self._error, None
      raise error


def _read_json(folder, name):
  """Reads a JSON file that must hold a dictionary."""
  with open(os.path.join(folder, name), encoding='utf-8') as f:
    value = json.load(f)
  if not isinstance(value, dict):
    raise ValueError(f'{name} holds no dictionary')
  return value


def _check_room(folder, state):
  """Raises an OSError if the disk has too little space for a state."""
  needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  if shutil.disk_usage(folder).free < 1.2 * needed:
    raise OSError(errno.ENOSPC, f'No space left on device for {needed} bytes')


def _is_not_of_orbax(record):
  return 'orbax' not in record.pathname and record.name != 'asyncio'


@functools.cache
def _orbax():
  """Returns an Orbax checkpointer that does not wait for other processes.

  In a run of several processes, only one of them writes. The checkpointer is
  cached, because every new one permanently takes a little memory.
  """
  # This module reports each error of Orbax in one line. Without this filter,
  # the threads of Orbax would also log pages of text about each error.
  for logger in logging.get_absl_logger(), python_logging.getLogger('asyncio'):
    logger.addFilter(_is_not_of_orbax)
  here = jax.process_index()
  return ocp.Checkpointer(
      ocp.StandardCheckpointHandler(),
      multiprocessing_options=ocp.options.MultiprocessingOptions(
          primary_host=here, active_processes={here},
          barrier_sync_key_prefix=f'process{here}'))


def _held(state):
  """Returns a dictionary of the fields of a state that are not None.

  Orbax would save None as a leaf. Since such fields are left out, a checkpoint
  that was written before an optional field existed can still be restored.
  """
  if not hasattr(state, '_asdict'):
    return state
  return {n: x for n, x in state._asdict().items() if x is not None}


def structure(state: Any) -> dict[str, list[Any]]:
  """Returns the shape and dtype of each array in a state, by its path."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  return {
      _name(path): [list(leaf.shape), str(leaf.dtype)] for path, leaf in leaves
  }


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator='/')


def describe(entry: Any) -> str:
  if not isinstance(entry, list) or len(entry) != 2:
    return 'absent' if entry is None else 'no array'
  return f'{entry[1]}{entry[0]}'[:40]


def _first_line(error, folder=''):
  full = 'No space left on device'
  if full in str(error):  # Orbax's error has more lines.
    return full + (system_errors.room(folder) if folder else '')
  return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
