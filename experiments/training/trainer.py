"""Trains one run: opens its folder, loops over the steps, and finishes."""

from collections.abc import Callable
import functools
from typing import Any

from hybridseg import indicators as indicators_lib
from hybridseg import parallel
from hybridseg import train_step as train_step_lib
import jax
import ml_collections

from experiments import binary
from experiments.building import input_pipeline
from experiments.evaluation import scoring
from experiments.saving import run_log
from experiments.training import finishing
from experiments.training import opening
from experiments.training import refining
from experiments.training import spent
from experiments.training import stopping


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    should_stop: Callable[[int], bool] | None = None,
    record_machine: bool = False,
    listen: run_log.Listen | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
  """Trains to `config.train_steps`, from the newest checkpoint if there is one.

  Writes to `workdir`: config.json, run.json (versions, commit, devices),
  log.jsonl, timing.jsonl, metrics.json, cases_test.csv, indicators.csv,
  indicator_history/, checkpoints/, curves.png, panel.png, indicators.png,
  report.html; with `supervision.refine`, also first/ and refined/.

  Args:
    config: locked config, see `experiments/configs/common.py`.
    workdir: folder of the run.
    should_stop: function that takes the number of updates done and returns
      whether to save and stop; if None, training stops on SIGTERM and Ctrl-C.
    record_machine: whether the folder may name the machine and absolute paths,
      see `session.describe`.
    listen: see `run_log.Listen`; for example `tensorboard.listen`. Where there
      are several processes, only the first one calls it.
    check: function that is called at each step, and before anything is saved;
      whatever it raises ends the session, which then writes nothing more.

  Returns:
    The content of metrics.json.

  Raises:
    binary.UserError: if the config, the set or the checkpoint does not fit, if
      the folder is in use or cannot be written, or if too many consecutive
      updates were not finite.
    binary.Stopped: if the training was stopped before the last step; everything
      is saved.
  """
  if config.supervision.refine:
    refining.train_first(config, workdir, train=functools.partial(
        train_and_evaluate, should_stop=should_stop,
        record_machine=record_machine, listen=listen, check=check))
  clock = spent.Clock()
  with stopping.StopRequest() as request, opening.open_session(
      config, workdir, record_machine=record_machine) as (
          session, state, step):
    if listen is not None and session.is_primary:
      session.log.on_line = listen(workdir, step)
    state, val_counts = _train(
        session, state, step, should_stop or request, request, clock, check)
    return finishing.finish(session, state, val_counts, clock, check)


def _train(session, state, step, should_stop, request, clock, check):
  """Trains to the last step, or raises `binary.Stopped`.

  Returns:
    The final state, and the confusion counts of the validation split at the
    last step. The counts are None if an earlier session evaluated that step.
  """
  schedule, network = session.schedule, session.parts.network
  key = network.mapping.replicate(jax.random.key(schedule.seed))
  if step < schedule.train_steps:
    with clock.within('compile'):
      _compile_evaluation(session, state)
  clock.begin('steps')
  pending = []  # Pairs of a step and its metrics, still on the devices.
  while True:
    check()
    is_last = step == schedule.train_steps
    # A resumed run enters the loop at the step of its checkpoint. It first does
    # the logging, evaluation and saving that are still due at that step.
    if is_last or step % schedule.log_every_steps == 0:
      _report(session, state, step, pending)
    val_counts, is_best = None, False
    if step and (is_last or step % schedule.eval_every_steps == 0) and (
        not session.log.evaluated(step)):
      _collect(session, state, pending)
      with clock.within('validation'):
        val_counts, is_best = _evaluate(session, state, step)
    stop = not is_last and _agree_to_stop(session, step, should_stop(step))
    if is_last or is_best or stop or (
        step and step % schedule.checkpoint_every_steps == 0):
      _collect(session, state, pending)
      check()
      with clock.within('checkpoints'):
        _write_checkpoint(session, state, step)
    if is_last:
      break
    if stop:
      session.checkpoints.wait()
      raise binary.Stopped(
          f'Stopped at step {step} of {schedule.train_steps}, saved in '
          f'{session.workdir}: the same command resumes.')
    drawn = next(session.batches)
    batch = network.mapping.place_batch(drawn)
    if request.nothing_to_save:
      clock.begin('compile')
      parallel.compile_together(session.parts.step_fn, state, batch, key)
    state, metrics = session.parts.step_fn(state, batch, key)
    step += 1
    state = session.move_indicators(state, step, drawn.strong, key)
    if request.nothing_to_save:
      # Set this only after the first step, because a signal should still end
      # the process while that step is compiled.
      request.nothing_to_save = False
      clock.begin('steps')
      session.progress.start(step)
    pending.append((step, metrics))
  with clock.within('checkpoints'):
    session.checkpoints.wait()
  request.nothing_to_save = True
  return state, val_counts


def _compile_evaluation(session, state):
  """Compiles the evaluation before the first step, not at its first use."""
  if session.is_primary:
    print('Compiling; the first step follows within minutes.', flush=True)
  session.evaluate(
      train_step_lib.eval_params(state), [session.dataset.splits['val'][0]])
  _health(parallel.to_host(state.indicators))


def _agree_to_stop(session, step, wanted):
  """Returns whether to stop at this step; all processes get the same answer.

  If there are several processes, they only exchange their answers at the steps
  that are logged, where they have to wait for each other anyway.

  Args:
    session: session of the run.
    step: number of updates done.
    wanted: whether this process was asked to stop.
  """
  if parallel.num_processes() > 1 and step % session.schedule.log_every_steps:
    return False
  return parallel.any_process(wanted)


def _collect(session, state, pending):
  """Moves the metrics of the steps in `pending` from the devices to the log."""
  latest = parallel.to_host(pending)
  pending.clear()
  for step, metrics in latest:
    step, nonfinite = int(step), metrics.pop('nonfinite')
    causes = None
    if metrics['skipped']:
      causes = _causes(session, step, nonfinite)
    session.log.collect(step, {n: float(v) for n, v in metrics.items()}, causes)
    if session.log.skipped_in_a_row >= session.schedule.max_skipped_in_a_row:
      _give_up(session, state, step, causes)


def _causes(session, step, nonfinite):
  """Returns why a step was skipped: loss terms and images that are not finite.

  Args:
    session: session of the run.
    step: number of updates done, including the skipped one.
    nonfinite: the metric `nonfinite` of the training step.

  Returns:
    A dictionary: 'terms' holds the names of the loss terms; 'strong' and 'weak'
    hold the ids of the images.
  """
  terms = nonfinite['terms']
  causes = {'terms': sorted(name for name in terms if terms[name])}
  for role, rows in session.rows(step - 1).items():
    records = session.dataset.splits[f'train_{role}']
    causes[role] = input_pipeline.column(
        [records[i] for i in rows[nonfinite[role]]], 'id').tolist()
  return causes


def _give_up(session, state, step, causes):
  """Saves a checkpoint, then raises an error that ends the run.

  Args:
    session: session of the run.
    state: current state, on the devices.
    step: step of the last of too many consecutive updates that were not finite.
    causes: causes of that update, from `_causes`.
  """
  _write_checkpoint(session, state, int(parallel.to_host(state.step)))
  session.checkpoints.wait()
  instances = (causes['strong'] + causes['weak'])[:3]
  raise binary.UserError(
      f'Updates up to step {step} were not finite, '
      f'{session.log.skipped_in_a_row} in a row '
      f'({", ".join(causes["terms"])}; images: '
      f'{", ".join(instances) or "none by itself"}): look at these images, '
      'lower optimizer.learning_rate, or raise max_skipped_in_a_row. None of '
      'them entered the state, which is saved.')


def _report(session, state, step, pending):
  _collect(session, state, pending)
  if session.log.has_pending:
    means = session.log.report(step)
    if session.is_primary:
      session.progress.print(step, means)


def _evaluate(session, state, step):
  """Evaluates the validation split and logs its Dice.

  Returns:
    The confusion counts, and whether this is the best evaluation so far.
  """
  _, counts = session.evaluate(
      train_step_lib.eval_params(state), session.dataset.splits['val'])
  dice = scoring.mean_dice(counts)
  indicators = parallel.to_host(state.indicators)
  health = _health(indicators)
  warning = run_log.collapse_warning(health)
  is_best = session.log.write_evaluation(step, dice, health, warning)
  if session.is_primary:
    session.history.add(step, indicators.weights)
    session.progress.note(step, f'val Dice {dice:.3f}')
    if warning:
      session.progress.note(step, f'WARNING: {warning}')
  return counts, is_best


def _write_checkpoint(session, state, step):
  if not session.is_primary:
    return
  log = session.log
  log.flush()
  session.checkpoints.save(
      step, parallel.to_host(state), log.session(), session.history.files(),
      best_step=log.best['step'] if log.best else None)


_indicator_health = jax.jit(indicators_lib.indicator_health)


def _health(indicators):
  health = jax.device_get(_indicator_health(indicators))
  return {f'indicator_{name}': float(value) for name, value in health.items()}
