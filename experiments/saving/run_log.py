"""The log of a run: log.jsonl, progress on the terminal, and timing.jsonl."""

import json
import math
import os
import time
from typing import Any

from data_prep.shared import progress
from data_prep.shared import system_errors
from data_prep.shared import whole_file
import jax
import numpy as np

from experiments import binary
from experiments.saving import run_schema


_LEAST_MEAN = 0.2  # Below this mean of the indicators, a run warns.


_FLOAT = run_schema.Is(
    'a number', lambda x: type(x) in (int, float))  # This includes nan.
_BEST = run_schema.Maybe({'step': run_schema.COUNT, 'val_dice': _FLOAT})
_RECORD = {
    'lines': [{'step': run_schema.COUNT}],
    'pending': [run_schema.Each(_FLOAT)],
    'best': _BEST,
    'skipped_in_a_row': run_schema.COUNT,
}


def known_best(session: dict[str, Any]) -> dict[str, Any] | None:
  """Returns step and val_dice of the best evaluation in a checkpoint's record.

  Returns None if all evaluations were nan. Older versions recorded a nan as the
  best if it came first.
  """
  run_schema.check(session, {'best': _BEST}, 'session.json of the checkpoint')
  best = session.get('best')
  return None if best is None or math.isnan(best['val_dice']) else best


class Log:
  """The record of a run, such as log.jsonl, which is part of each checkpoint.

  Nothing in it depends on time or on how often the run was stopped, so that a
  resumed run ends with the same bytes.

  Attributes:
    lines: lines of log.jsonl, each a dict with `step`.
    best: step and val_dice of the best evaluation so far, or None.
    skipped_in_a_row: number of consecutive updates that were skipped, up to the
      last step collected.
  """

  def __init__(self, workdir: str):
    self._path = os.path.join(workdir, 'log.jsonl')
    self._history_path = os.path.join(workdir, 'indicator_history.npz')
    self.lines = []
    self.best = None
    self.skipped_in_a_row = 0
    self._pending = []  # Scalars of the steps since the last line.
    self._history = []  # Pairs of a step and its indicators.

  def restore(
      self, session: dict[str, Any], history: dict[str, np.ndarray]
  ) -> None:
    """Restores the state that `session` and `history` have returned."""
    run_schema.check(session, _RECORD, 'session.json of the checkpoint')
    self.lines, self.best = session['lines'], known_best(session)
    self.skipped_in_a_row = session['skipped_in_a_row']
    self._pending = session['pending']
    try:
      self._history = list(
          zip(history['step'].tolist(), history['indicators'], strict=True))
    except (KeyError, TypeError, ValueError) as e:
      raise binary.UserError(
          'history.npz of the checkpoint is not as a run writes it: move the '
          'checkpoint away to use the one before.') from e

  def session(self) -> dict[str, Any]:
    """Returns the state without its arrays, as JSON."""
    return {
        'lines': self.lines,
        'pending': self._pending,
        'best': self.best,
        'skipped_in_a_row': self.skipped_in_a_row,
    }

  def history(self) -> dict[str, np.ndarray]:
    """Returns the indicators at every evaluation, [T, N], and its step, [T]."""
    steps = [step for step, _ in self._history]
    indicators = [weights for _, weights in self._history]
    return {
        'step': np.array(steps, np.int64),
        'indicators': np.array(indicators, np.float32),
    }

  def collect(
      self,
      step: int,
      values: dict[str, float],
      causes: dict[str, Any] | None = None,
  ) -> None:
    """Adds the metrics of one step to the means of the next line.

    Args:
      step: number of updates done, including this one.
      values: scalar metrics.
      causes: reasons why this update was skipped, which get a line of their
        own; None if it was not skipped.
    """
    self._pending.append(values)
    self.skipped_in_a_row = self.skipped_in_a_row + 1 if causes else 0
    if causes:
      self.write(step, {'skipped_update': causes})

  @property
  def has_pending(self) -> bool:
    return bool(self._pending)

  def report(self, step: int) -> dict[str, float]:
    """Writes and returns the means of the steps since the last line.

    Values that are not finite, as in a skipped step, do not count; the mean of
    `skipped` is the share of skipped steps.
    """
    means = {}
    for name in self._pending[0]:
      values = [m[name] for m in self._pending]
      finite = [v for v in values if np.isfinite(v)]
      means[name] = float(np.mean(finite)) if finite else None
    self._pending = []
    self.write(step, means)
    return means

  def write(self, step: int, values: dict[str, Any]) -> None:
    """Appends a line to the log."""
    self.lines.append({'step': step, **values})

  def evaluated(self, step: int) -> bool:
    """Returns whether the evaluation of a step is in the log."""
    return any(
        line['step'] == step and 'val_dice' in line
        for line in self.lines[-10:])

  def write_evaluation(
      self,
      step: int,
      val_dice: float,
      health: dict[str, float],
      indicators: np.ndarray,
      warning: str = '',
  ) -> bool:
    """Appends an evaluation; returns whether it is the best so far.

    A Dice of nan, which means that no case counts, is never the best, and is
    null in the log.
    """
    known = not math.isnan(val_dice)
    self.write(step, {'val_dice': val_dice if known else None, **health})
    if warning:
      self.write(step, {'warning': warning})
    self._history.append((step, np.array(indicators)))
    if known and (
        self.best is None or val_dice > self.best['val_dice']):
      self.best = {'step': step, 'val_dice': val_dice}
      return True
    return False

  def flush(self) -> None:
    """Writes log.jsonl and indicator_history.npz, each atomically.

    Raises:
      binary.UserError: if the folder cannot be written.
    """
    try:
      with whole_file.open_whole(self._path, encoding='utf-8') as f:
        f.writelines(json.dumps(line) + '\n' for line in self.lines)
      with whole_file.open_whole(self._history_path, 'wb') as f:
        np.savez(f, **self.history())
    except OSError as e:
      raise binary.UserError(
          f'Cannot write {self._path}: '
          f'{system_errors.why(e, self._path)}. Make room, or the folder '
          'writable, and start the same command again: it resumes.') from e


class Progress:
  """Reports the speed and the time left on the terminal and in timing.jsonl.

  Values that depend on the machine are kept out of log.jsonl.
  """

  _SHOWN = {
      'strong_loss': 'strong',
      'weak_loss': 'weak',
      'co_reg_loss': 'co-reg',
      'mean_indicator': 'indicator',
  }

  def __init__(
      self,
      workdir: str,
      last_step: int,
      *,
      images_per_step: int,
  ):
    self._path = os.path.join(workdir, 'timing.jsonl')
    self._last_step = last_step
    self._images_per_step = images_per_step
    self._seen = None  # The step and the time of the last call.

  def start(self, step: int) -> None:
    """Starts the clock; call it after the first step, which compiles."""
    self._seen = (step, time.time())

  def print(self, step: int, means: dict[str, float]) -> None:
    """Reports the means and the speed of the steps since the last call."""
    parts = [
        f'{label} {means[name]:.3f}'
        for name, label in self._SHOWN.items()
        if means.get(name) is not None
    ]
    if means.get('skipped'):
      parts.append(f'skipped {means["skipped"]:.0%}')
    images_per_s = None
    if self._seen is not None and step > self._seen[0]:
      step_time_s = (time.time() - self._seen[1]) / (step - self._seen[0])
      images_per_s = round(self._images_per_step / step_time_s, 2)
      parts.append(f'{images_per_s:.0f} images/s')
      left_s = step_time_s * (self._last_step - step)
      parts.append(f'{progress.minutes(left_s)} left')
    self.start(step)
    self.note(step, '  '.join(parts))
    line = {
        'step': step,
        'images_per_s': images_per_s,
        'compilations': num_compilations(),
        'resident_mib': round(resident_mib(), 1),
    }
    try:
      with open(self._path, 'a', encoding='utf-8',
                opener=whole_file.follow_no_link) as f:
        f.write(json.dumps(line) + '\n')
    except OSError as e:
      raise binary.UserError(system_errors.in_words(e, self._path)) from e

  def note(self, step: int, text: str) -> None:
    """Prints one line about a step."""
    width = len(str(self._last_step))
    print(f'step {step:{width}d}/{self._last_step}  {text}', flush=True)


def collapse_warning(health: dict[str, float]) -> str:
  """Returns a warning line if the indicators have collapsed, else ''.

  They have collapsed if their mean is below `_LEAST_MEAN`. This condition is
  enough, whether all indicators sink together or few of them keep all the
  weight: neither the share of indicators above 0 nor `effective_share` can be
  below the mean.

  Args:
    health: values of `indicators.indicator_health`, with `indicator_` before
      each name.
  """
  mean = health['indicator_mean']
  if mean >= _LEAST_MEAN:
    return ''
  return (
      f'The indicators have collapsed: their mean is {mean:.2f}, '
      f'{health["indicator_share_at_0"]:.0%} are at 0 (effective share '
      f'{health["indicator_effective_share"]:.2f}), so that weak labels hardly '
      'count. Unless most of them are wrong, lower weighting.learning_rate or '
      'raise weighting.start_step.')


_compilations = []


def _count_compilation(event, unused_seconds, **unused_kwargs):
  if event == '/jax/core/compile/backend_compile_duration':
    _compilations.append(event)


jax.monitoring.register_event_duration_secs_listener(_count_compilation)


def num_compilations() -> int:
  """Returns how many programs this process compiled or read from a cache."""
  return len(_compilations)


def resident_mib() -> float:
  """Returns the resident memory of this process; nan where /proc is absent."""
  try:
    with open('/proc/self/statm', encoding='utf-8') as f:
      pages = int(f.read().split()[1])
  except OSError:
    return float('nan')
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20
