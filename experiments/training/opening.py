"""Opens the folder of a run, to start or to resume the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import os
from typing import Any, NamedTuple

from hybridseg import parallel
from hybridseg import train_step as train_step_lib
from hybridseg import types
import ml_collections
import numpy as np

from experiments.building import corrections
from experiments.building import feature_cache
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pretrained
from experiments.building import retraining
from experiments.evaluation import scoring
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.training import indicator_pass


class Schedule(NamedTuple):
  """The seed of a run, its length, and how often it logs, evaluates and saves.

  `configs.common` explains each value.
  """

  seed: int
  train_steps: int
  log_every_steps: int
  eval_every_steps: int
  checkpoint_every_steps: int
  max_skipped_in_a_row: int


class Session(NamedTuple):
  """The objects that a session of a run works with, except for the train state.

  A session lasts from the start of the process to its end. A run that was
  resumed has had several sessions.

  Attributes:
    workdir: folder of the run; no other process writes to it.
    dataset: set of the run, with its corrected labels, if any.
    parts: networks and mapped functions of the run.
    batches: yields the batches of the remaining steps.
    rows: sequence from `input_pipeline.train_rows`, whose item for each step
      holds the row numbers of the records in that step's batch.
    schedule: the seed, the length and the intervals of the run.
    evaluate: function that takes the networks' parameters and the records to
      evaluate, and returns predictions and confusion counts.
    move_indicators: function from `indicator_pass.make`.
    checkpoints: checkpoints of the run.
    log: content of log.jsonl, and the history of the indicators.
    progress: reports the progress on the terminal and in timing.jsonl.
    is_primary: whether this process is the one that writes files.
  """

  workdir: str
  dataset: input_pipeline.Dataset
  parts: parts_lib.Training
  batches: Iterator[types.HybridBatch]
  rows: Sequence[Mapping[str, np.ndarray]]
  schedule: Schedule
  evaluate: Callable[..., tuple[np.ndarray, np.ndarray]]
  move_indicators: Callable[..., Any]
  checkpoints: checkpoints_lib.Checkpoints
  log: run_log.Log
  progress: run_log.Progress
  is_primary: bool


@contextlib.contextmanager
def open_session(
    config: ml_collections.ConfigDict, workdir: str, *, record_machine: bool
) -> Iterator[tuple[Session, train_step_lib.TrainState, int]]:
  """Opens a session, as a context that holds the lock of the folder.

  Yields the session, its state on the devices, and its first step.

  The order of the work matters:

  1. Read the files from which a fresh run starts, such as ImageNet weights. If
     one of them is wrong, nothing has been written yet.
  2. Lock the folder for this process.
  3. Refuse a folder that holds a run with another config or set.
  4. Build the state of a fresh run.
  5. Replace it by the newest intact checkpoint, if there is one.
  6. Record this session in run.json, now that its first step is known.
  7. Continue from that step. The batches and the random keys depend only on the
     seed and the step, and the log continues from the record in the checkpoint.

  Args:
    config: locked config, see `experiments/configs/common.py`.
    workdir: folder of the run.
    record_machine: see `session.describe`.

  Raises:
    binary.UserError: if the config, the set, a file or the folder does not fit.
  """
  dataset = corrections.load(config, workdir)
  parts = parts_lib.build_training(config, dataset)
  order = dict(
      strong_batch_size=config.input.strong_batch_size,
      weak_batch_size=config.input.weak_batch_size, seed=config.seed)
  rows = input_pipeline.train_rows(dataset, **order)
  batches = feature_cache.views(config, dataset, input_pipeline.train_batches(
      dataset, **order, weak_labels=config.input.weak_labels), rows)
  checkpoints = run_folder.open_checkpoints(
      workdir, config, dataset.fingerprint)
  backbone = indicators = None
  # If the run is resumed, its checkpoint already contains the pretrained
  # weights and the first indicators.
  if not checkpoints.steps():
    backbone = pretrained.read(config.model)
    indicators = retraining.read(config.weighting, dataset)

  is_primary = parallel.is_primary()
  with contextlib.ExitStack() as stack:
    if is_primary:
      stack.callback(
          os.close, run_folder.lock(workdir, record_machine=record_machine))
    before, changes = None, []
    if is_primary:
      changes = run_folder.check_run(
          workdir, config, dataset, step=max(checkpoints.steps(), default=0))
      before = run_folder.read_config(workdir) if changes else None
      checkpoints.clean()

    state = pretrained.start_from(parts.network.init_fn(), backbone)
    state = retraining.start_from(state, indicators)
    log, step = run_log.Log(workdir), 0
    restored = checkpoints.restore(state, set_aside=is_primary)
    if restored is not None:
      state, step = restored.state, restored.step
      log.restore(restored.session, restored.history)
      if is_primary:
        print(f'Resuming {workdir} at step {step}.', flush=True)
        if any(change.name == 'train_steps' for change in changes):
          print(resuming.joint(before, config, step), flush=True)

    if is_primary:
      run_folder.open_run(
          workdir, config, dataset, step=step, record_machine=record_machine)
    feature_cache.prepare(
        batches, config, parts.network.encode_fn, state, workdir=workdir)
    session = Session(
        workdir=workdir,
        dataset=dataset,
        parts=parts,
        batches=input_pipeline.read_from(
            batches, step, config.train_steps, config.input.num_workers),
        rows=rows,
        schedule=Schedule(*(config[name] for name in Schedule._fields)),
        evaluate=functools.partial(
            scoring.evaluate_records, parts.eval_fn,
            batch_size=config.input.eval_batch_size),
        move_indicators=indicator_pass.make(config, dataset, parts),
        checkpoints=checkpoints,
        log=log,
        progress=run_log.Progress(
            workdir, config.train_steps,
            images_per_step=_images_per_step(config)),
        is_primary=is_primary)
    yield session, parts.network.mapping.replicate(state), step


def _images_per_step(config):
  uses_weak = (
      config.supervision.weak_scale or config.co_regularization.scale)
  return config.input.strong_batch_size + (
      config.input.weak_batch_size if uses_weak else 0)
