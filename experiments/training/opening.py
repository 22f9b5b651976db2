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

from experiments.building import config_checks
from experiments.building import corrections
from experiments.building import feature_cache
from experiments.building import input_pipeline
from experiments.building import kept_annotations
from experiments.building import parts as parts_lib
from experiments.building import pieces
from experiments.building import pretrained
from experiments.building import retraining
from experiments.building import volume_patches
from experiments.building import volume_set
from experiments.evaluation import scoring
from experiments.evaluation import volume_evaluation
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import indicator_history
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.training import indicator_pass
from experiments.training import warm_start


class Session(NamedTuple):
  """The objects that a session of a run works with, except for the train state.

  A session lasts from the start of the process to its end. A run that was
  resumed has had several sessions.

  Attributes:
    workdir: folder of the run; no other process writes to it.
    dataset: set of the run, with its corrected labels, if any.
    parts: networks and mapped functions of the run.
    batches: iterator over the batches of the remaining steps.
    rows: function that takes a step and returns the row numbers of the records
      in its batch, see `input_pipeline.TrainBatches`.
    schedule: the seed, the length and the intervals of the run.
    evaluate: function that takes the networks' parameters and the records to
      evaluate, and returns predictions and confusion counts; for whole volumes,
      a `volume_evaluation.Evaluator`.
    move_indicators: function from `indicator_pass.make`.
    checkpoints: checkpoints of the run.
    log: content of log.jsonl.
    history: writes the indicators at each evaluation.
    progress: reports the progress on the terminal and in timing.jsonl.
    is_primary: whether this process is the one that writes files.
  """

  workdir: str
  dataset: input_pipeline.Dataset
  parts: parts_lib.Training
  batches: Iterator[types.HybridBatch]
  rows: Callable[[int], Mapping[str, np.ndarray]]
  schedule: pieces.Schedule
  evaluate: Callable[..., tuple[Sequence[np.ndarray], np.ndarray]]
  move_indicators: Callable[..., Any]
  checkpoints: checkpoints_lib.Checkpoints
  log: run_log.Log
  history: indicator_history.Recorder
  progress: run_log.Progress
  is_primary: bool


@contextlib.contextmanager
def open_session(
    config: ml_collections.ConfigDict, workdir: str, *, record_machine: bool
) -> Iterator[tuple[Session, train_step_lib.TrainState, int]]:
  """Opens a session, as a context that holds the lock of the folder.

  Yields the session, its state on the devices, and its first step.

  The order of the work matters:

  1. Read the files from which a fresh run starts, such as ImageNet weights or
     an earlier run. If one of them is wrong, nothing has been written yet.
  2. Lock the folder for this process.
  3. Refuse a folder that holds a run with another config or set.
  4. Build the state of a fresh run.
  5. Replace it by the newest intact checkpoint, if there is one.
  6. Compute the features of what is frozen. If the disk has no room for them,
     the run can start again with another config, as nothing was written yet.
  7. Record this session in run.json, now that its first step is known.
  8. Continue from that step. The batches and the random keys depend only on the
     seed and the step, and the log continues from the record in the checkpoint.

  Args:
    config: locked config, see `experiments/configs/common.py`.
    workdir: folder of the run.
    record_machine: see `session.describe`.

  Raises:
    binary.UserError: if the config, the set, a file or the folder does not fit.
  """
  config_checks.check_numbers(config)
  data, model, method, schedule = pieces.unpack(config)
  dataset = corrections.load(data, workdir)
  parts = parts_lib.build_training(dataset, model, method, schedule)
  if dataset.plan is not None:
    data = volume_set.with_batch_sizes(data, dataset)
  config_checks.check_batches(data, parts.network.mapping)
  kept, trained = None, dataset
  if method.pin_kept:
    kept = kept_annotations.find(dataset, data.data_dir)
    trained = kept_annotations.without_indicators(dataset, kept)
  batches = drawn = _make_batches(data, trained, schedule)
  if method.augmentation.copies:
    batches = feature_cache.Views(method, dataset, drawn)
  checkpoints = run_folder.open_checkpoints(
      workdir, config, dataset.fingerprint)
  backbone = indicators = earlier = None
  # If the run is resumed, its checkpoint already contains the parameters and
  # the indicators from which it started.
  if not checkpoints.steps():
    earlier = warm_start.read(
        schedule.warm_start, dataset, model, method, parts.network)
    if earlier is None:
      backbone = pretrained.read(model)
    indicators = retraining.read(
        method.initial_from, dataset, otherwise=method.initial_indicator)

  is_primary = parallel.is_primary()
  if is_primary:
    for notice in (*parts.notices, *([earlier.notice] if earlier else [])):
      print(notice, flush=True)
  with contextlib.ExitStack() as stack:
    changes = []
    if is_primary:
      stack.callback(
          os.close, run_folder.lock(workdir, record_machine=record_machine))
      changes = run_folder.check_run(
          workdir, config, dataset, step=max(checkpoints.steps(), default=0))
      checkpoints.clean()

    state = pretrained.start_from(parts.network.init_fn(), backbone)
    state = retraining.start_from(state, indicators)
    state = warm_start.start_from(state, earlier)
    state = kept_annotations.start_from(state, kept)
    log, step = run_log.Log(workdir), 0
    history = indicator_history.Recorder(workdir)
    restored = checkpoints.restore(state, set_aside=is_primary)
    if restored is not None:
      state, step = restored.state, restored.step
      log.restore(restored.session)
      if is_primary:
        print(f'Resuming {workdir} at step {step}.', flush=True)
        for change in changes:
          if change.name == 'train_steps':
            print(resuming.joint(change, config.optimizer, step), flush=True)
    if is_primary:
      history.resume(restored)

    feature_cache.prepare(
        batches, parts.network.encode_fn, state.params[0],
        range(step, schedule.train_steps), batch_size=data.eval_batch_size,
        folder=workdir)
    if is_primary:
      run_folder.open_run(
          workdir, config, dataset, step=step,
          warm_start=earlier.digest if earlier else '',
          record_machine=record_machine)
    session = Session(
        workdir=workdir,
        dataset=dataset,
        parts=parts,
        batches=input_pipeline.read_from(
            batches, step, schedule.train_steps, data.num_workers),
        rows=drawn.rows,
        schedule=schedule,
        evaluate=_make_evaluation(data, dataset, parts),
        move_indicators=indicator_pass.make(
            trained, data, method.weighting, parts),
        checkpoints=checkpoints,
        log=log,
        history=history,
        progress=run_log.Progress(
            workdir, schedule.train_steps,
            images_per_step=data.strong_batch_size
            + method.uses_weak * data.weak_batch_size),
        is_primary=is_primary)
    yield session, parts.network.mapping.replicate(state), step


def _make_batches(data, dataset, schedule):
  if dataset.plan is not None:
    return volume_patches.PatchBatches(dataset, data, seed=schedule.seed)
  return input_pipeline.train_batches(
      dataset, strong_batch_size=data.strong_batch_size,
      weak_batch_size=data.weak_batch_size, seed=schedule.seed,
      weak_labels=data.weak_labels)


def _make_evaluation(data, dataset, parts):
  if dataset.plan is not None:
    return volume_evaluation.Evaluator(
        parts.network, dataset, batch_size=data.eval_batch_size)
  return functools.partial(
      scoring.evaluate_records, parts.eval_fn, batch_size=data.eval_batch_size)
