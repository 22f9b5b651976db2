"""Trains one run: input, model, state, resume, loop, evaluation."""

from collections.abc import Callable
import functools
import os
from typing import Any

from data_prep.shared import system_errors
from hybridseg import indicators as indicators_lib
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
import jax
import ml_collections
import numpy as np

from experiments import binary
from experiments.building import corrections
from experiments.building import feature_cache
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pretrained
from experiments.building import retraining
from experiments.evaluation import scoring
from experiments.reports import pages
from experiments.reports import plots
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.training import indicator_pass
from experiments.training import refining
from experiments.training import stopping


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    should_stop: Callable[[int], bool] | None = None,
    record_machine: bool = False,
) -> dict[str, Any]:
  """Trains to `config.train_steps`, from the newest checkpoint if there is one.

  Writes to `workdir`: config.json, run.json (versions, commit, devices),
  log.jsonl, timing.jsonl, metrics.json, cases_test.csv, indicators.csv,
  indicator_history.npz, checkpoints/, curves.png, panel.png, indicators.png,
  report.html; with `supervision.refine`, also first/ and refined/.

  Args:
    config: locked config, see `experiments/configs/common.py`.
    workdir: folder of the run.
    should_stop: function of the number of updates done that returns whether to
      save and stop there; None stops at SIGTERM and Ctrl-C.
    record_machine: whether the folder may name the machine and absolute paths,
      see `session.describe`.

  Returns:
    The content of metrics.json.

  Raises:
    binary.UserError: if the config, the data or the checkpoint do not fit, if
      the folder is in use or cannot be written, or if too many updates in a row
      were not finite.
    binary.Stopped: if it was asked to stop; everything is saved.
  """
  if config.supervision.refine:
    refining.train_first(config, workdir, train=functools.partial(
        train_and_evaluate, should_stop=should_stop,
        record_machine=record_machine))
  dataset = corrections.load(config, workdir)
  parts = parts_lib.build_training(config, dataset)
  order = dict(
      strong_batch_size=config.input.strong_batch_size,
      weak_batch_size=config.input.weak_batch_size, seed=config.seed)
  batches = input_pipeline.train_batches(
      dataset, **order, weak_labels=config.input.weak_labels)
  rows = input_pipeline.train_rows(dataset, **order)
  batches = feature_cache.views(config, dataset, batches, rows)
  with stopping.StopRequest() as request:
    run = _Run(
        config, workdir, dataset, batches, rows, parts, record_machine)
    try:
      run.train(should_stop or request, request)
      return run.finish()
    finally:
      run.close()


class _Run:
  """One session of a run, which may have had others before."""

  def __init__(
      self, config, workdir, dataset, batches, rows, parts, record_machine):
    # The order of resuming: (1) read the files that a fresh run starts from,
    # before anything is written, since they may be wrong; (2) lock the folder
    # for this process; (3) refuse a folder of another config or set; (4) build
    # the state of a fresh run; (5) replace it by the newest intact checkpoint;
    # (6) record this session, now that its first step is known; (7) continue
    # from there: step and seed alone determine data and keys, and the log
    # continues from the record in the checkpoint.
    self._config = config
    self._workdir = workdir
    self._dataset = dataset
    self._batches, self._rows = batches, rows
    self._parts, self._network = parts, parts.network
    self._record_machine = record_machine
    self._evaluate = functools.partial(
        scoring.evaluate_records,
        parts.eval_fn,
        batch_size=config.input.eval_batch_size,
    )
    self._is_primary = parallel.is_primary()
    self._checkpoints = run_folder.open_checkpoints(
        workdir, config, dataset.fingerprint)
    backbone = indicators = None
    if not self._checkpoints.steps():  # A checkpoint already contains them.
      backbone = pretrained.read(config.model)
      indicators = retraining.read(config, dataset)
    self._lock = run_folder.lock(
        workdir, record_machine=record_machine) if self._is_primary else None
    try:
      self._open(backbone, indicators)
    except BaseException:
      self.close()
      raise

  def _open(self, backbone, indicators):
    config, workdir = self._config, self._workdir
    changes = []
    if self._is_primary:
      changes = run_folder.check_run(
          workdir, config, self._dataset,
          step=max(self._checkpoints.steps(), default=0))
      before = run_folder.read_config(workdir) if changes else None
      self._checkpoints.clean()
    state = pretrained.start_from(self._network.init_fn(), backbone)
    state = retraining.start_from(state, indicators)
    self._log = run_log.Log(workdir)
    restored = self._checkpoints.restore(state, set_aside=self._is_primary)
    self._step = 0
    if restored is not None:
      state = restored.state
      self._log.restore(restored.session, restored.history)
      self._step = restored.step
      if self._is_primary:
        print(f'Resuming {workdir} at step {self._step}.', flush=True)
        if any(change.name == 'train_steps' for change in changes):
          print(resuming.joint(before, config, self._step), flush=True)
    if self._is_primary:
      run_folder.open_run(
          workdir, config, self._dataset, step=self._step,
          record_machine=self._record_machine)
    feature_cache.prepare(
        self._batches, config, self._network.encode_fn, state, workdir=workdir)
    self._state = self._network.mapping.replicate(state)
    self._progress = run_log.Progress(
        workdir,
        config.train_steps,
        images_per_step=config.input.strong_batch_size
        + config.input.weak_batch_size * bool(self._uses_weak()),
    )
    self._pending = []  # Pairs of a step and its metrics on the devices.
    self._val = (None, None)  # A step, and its counts on the validation split.

  def _uses_weak(self):
    return (
        self._config.supervision.weak_scale or
        self._config.co_regularization.scale)

  def train(self, should_stop, request):
    """Trains to the last step, or raises `binary.Stopped`."""
    config = self._config
    key = self._network.mapping.replicate(jax.random.key(config.seed))
    if self._step < config.train_steps:
      if self._is_primary:
        print('Compiling; the first step follows within minutes.', flush=True)
      # Compile these now, and not in the middle of the run.
      self._evaluate(
          train_step_lib.eval_params(self._state),
          [self._dataset.splits['val'][0]])
      _health(parallel.to_host(self._state.indicators))
    batches = input_pipeline.read_from(
        self._batches, self._step, config.train_steps, config.input.num_workers)
    while True:
      step = self._step
      is_last = step == config.train_steps
      # A resumed run first does here what its last session left undone.
      self._report_if(is_last or step % config.log_every_steps == 0)
      is_best = self._evaluate_if(
          step and (is_last or step % config.eval_every_steps == 0))
      stop = not is_last and self._agree_to_stop(should_stop(step))
      if is_last or is_best or stop or (
          step and step % config.checkpoint_every_steps == 0):
        self._save()
      if is_last:
        break
      if stop:
        self._checkpoints.wait()
        raise binary.Stopped(
            f'Stopped at step {step} of {config.train_steps}, saved in '
            f'{self._workdir}: the same command resumes.')
      drawn = next(batches)
      batch = self._network.mapping.place_batch(drawn)
      if request.nothing_to_save:
        parallel.compile_together(
            self._parts.step_fn, self._state, batch, key)
      self._state, metrics = self._parts.step_fn(self._state, batch, key)
      self._step += 1
      if indicator_pass.is_due(config, self._step):
        self._state = indicator_pass.run(
            config, self._dataset, self._parts, self._state, drawn.strong, key)
      if request.nothing_to_save:
        request.nothing_to_save = False  # Only now: the first call compiles.
        self._progress.start(self._step)
      self._pending.append((self._step, metrics))
    self._checkpoints.wait()
    request.nothing_to_save = True

  def _agree_to_stop(self, wanted):
    """Returns whether to stop; processes agree only where all wait anyway."""
    if parallel.num_processes() > 1 and (
        self._step % self._config.log_every_steps):
      return False
    return parallel.any_process(wanted)

  def _collect(self):
    """Moves the metrics of the latest steps from the devices to the log."""
    pending, self._pending = self._pending, []
    for step, metrics in parallel.to_host(pending):
      nonfinite = metrics.pop('nonfinite')
      causes = None
      if metrics['skipped']:
        causes = self._causes(step, nonfinite)
      self._log.collect(
          int(step), {n: float(v) for n, v in metrics.items()}, causes)
      if self._log.skipped_in_a_row >= self._config.max_skipped_in_a_row:
        self._give_up(int(step), causes)

  def _causes(self, step, nonfinite):
    """Returns the names of terms and images that were not finite at a step."""
    terms = nonfinite['terms']
    causes = {'terms': sorted(name for name in terms if terms[name])}
    for role, rows in self._rows[step - 1].items():
      records = self._dataset.splits[f'train_{role}']
      causes[role] = input_pipeline.column(
          [records[i] for i in rows[nonfinite[role]]], 'id').tolist()
    return causes

  def _give_up(self, step, causes):
    """Saves, then raises an error that explains why the run cannot continue."""
    self._pending = []
    self._save()
    self._checkpoints.wait()
    instances = (causes['strong'] + causes['weak'])[:3]
    raise binary.UserError(
        f'Updates up to step {step} were not finite, '
        f'{self._log.skipped_in_a_row} in a row '
        f'({", ".join(causes["terms"])}; images: '
        f'{", ".join(instances) or "none by itself"}): look at these images, '
        'lower optimizer.learning_rate, or raise max_skipped_in_a_row. Nothing '
        'of them entered the state, which is saved.')

  def _report_if(self, due):
    if not due:
      return
    self._collect()
    if self._log.has_pending:
      means = self._log.report(self._step)
      if self._is_primary:
        self._progress.print(self._step, means)

  def _evaluate_if(self, due):
    """Returns whether this step was evaluated and is the best so far."""
    if not due or self._log.evaluated(self._step):
      return False
    self._collect()
    dice = scoring.mean_dice(self._val_counts())
    indicators = parallel.to_host(self._state.indicators)
    health = _health(indicators)
    warning = run_log.collapse_warning(health)
    is_best = self._log.write_evaluation(
        self._step, dice, health, indicators.weights, warning)
    if self._is_primary:
      self._progress.note(self._step, f'val Dice {dice:.3f}')
      if warning:
        self._progress.note(self._step, f'WARNING: {warning}')
    return is_best

  def _val_counts(self):
    """Evaluates the validation split, once per step."""
    if self._val[0] != self._step:
      _, counts = self._evaluate(
          train_step_lib.eval_params(self._state),
          self._dataset.splits['val'])
      self._val = (self._step, counts)
    return self._val[1]

  def _save(self):
    self._collect()
    if not self._is_primary:
      return
    self._log.flush()
    self._checkpoints.save(
        self._step,
        parallel.to_host(self._state),
        self._log.session(),
        self._log.history(),
        best_step=self._log.best['step'] if self._log.best else None,
    )

  def finish(self):
    """Evaluates the final state; writes every table and plot of the run."""
    try:
      return _report(
          parallel.to_host(self._state), self._evaluate, self._val_counts(),
          self._dataset, self._log,
          self._workdir if self._is_primary else None)
    except OSError as e:
      raise binary.UserError(
          f'Cannot write the results of {self._workdir}: '
          f'{system_errors.why(e, self._workdir)}. The final checkpoint is '
          'there: make room, or the folder writable, and start the same '
          'command again.') from e

  def close(self):
    """Releases the lock of the folder."""
    if self._lock is not None:
      os.close(self._lock)
      self._lock = None


_indicator_health = jax.jit(indicators_lib.indicator_health)


def _health(indicators):
  health = jax.device_get(_indicator_health(indicators))
  return {f'indicator_{name}': float(value) for name, value in health.items()}


def _report(state, evaluate, val_counts, dataset, log, workdir):
  """Evaluates the test split; with a workdir, also writes tables and plots."""
  results = {
      'step': int(state.step),
      'dataset': dataset.name,
      'best': log.best,
      'num_skipped': int(state.num_skipped),
      'state_sha256': checkpoints_lib.state_sha256(state),
  }
  params = train_step_lib.eval_params(state)
  test_predictions, test_counts = evaluate(
      params, dataset.splits['test'])
  counts = {'val': val_counts, 'test': test_counts}
  scores = {s: scoring.overlap_scores(c) for s, c in counts.items()}
  names = {
      split: [input_pipeline.column(dataset.splits[split], name).tolist()
              for name in ('id', 'subject')] for split in counts}
  for split in counts:
    results[split] = scoring.summarize(
        scores[split], dataset.classes, names[split][1])
  weak_records = dataset.splits['train_weak']
  weights = np.asarray(state.indicators.weights)
  num_updates = np.asarray(state.indicators.num_updates)
  results['indicators'] = scoring.summarize_indicators(
      weights, num_updates, weak_records
  )
  if workdir is None:
    return results

  path = functools.partial(os.path.join, workdir)
  for split in counts:
    scoring.write_cases(
        path(f'cases_{split}.csv'), *names[split], scores[split],
        dataset.classes)
  scoring.write_indicators(
      path('indicators.csv'), weights, num_updates, weak_records)
  predict = lambda rows: evaluate(
      params, [weak_records[i] for i in rows])[0]
  # The panel shows weak instances from the least to the most trusted.
  shown = plots.choose_weak(weights, weak_records)
  plots.plot_curves(log.lines, path('curves.png'))
  plots.plot_panel(
      path('panel.png'),
      dataset=dataset,
      weak_indices=shown,
      weak_predictions=predict(shown),
      weights=weights,
      test_predictions=test_predictions,
  )
  plots.plot_indicators(
      path('indicators.png'), weights=weights, records=weak_records)
  least = plots.least_trusted(weights, weak_records, number=200)
  pages.write_train_report(
      path('report.html'), results=results, lines=log.lines,
      history=log.history(),
      config=run_folder.read_config(workdir).to_dict(),
      sessions=run_folder.read_sessions(workdir), dataset=dataset,
      weights=weights, weak_rows=least, weak_predictions=predict(least),
      test_counts=test_counts, test_predictions=test_predictions)
  run_folder.write_json(path('metrics.json'), results)
  return results
