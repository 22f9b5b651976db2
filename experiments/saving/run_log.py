"""Writes log.jsonl and timing.jsonl, and reports progress on the terminal."""

from collections.abc import Callable, Mapping
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


# Gets the folder of a run and the number of updates done at the start of a
# session. Returns a function that gets each new line of log.jsonl.
Listen = Callable[[str, int], Callable[[Mapping[str, Any]], None]]

_LEAST_MEAN = 0.2  # If the mean indicator is lower, a warning is printed.


_FLOAT = run_schema.Is(
    'a number', lambda x: type(x) in (int, float))  # nan is allowed.
_BEST = run_schema.Maybe({'step': run_schema.COUNT, 'val_dice': _FLOAT})
_RECORD = {
    'lines': [{'step': run_schema.COUNT}],
    'pending': [run_schema.Each(_FLOAT)],
    'best': _BEST,
    'skipped_in_a_row': run_schema.COUNT,
}


def known_best(session: dict[str, Any]) -> dict[str, Any] | None:
  """Returns the best evaluation that the record of a checkpoint contains.

  Args:
    session: the part of the record that is stored as JSON. If the Dice of the
      first evaluation was nan, older versions recorded that evaluation as the
      best; it is ignored.

  Returns:
    A dictionary with the keys `step` and `val_dice`, or None.
  """
  run_schema.check(session, {'best': _BEST}, 'session.json of the checkpoint')
  best = session.get('best')
  return None if best is None or math.isnan(best['val_dice']) else best


class Log:
  """The record of a run: the lines of log.jsonl, and its best evaluation.

  Each checkpoint contains this record. Nothing in it depends on the time of day
  or on how often the run was stopped, so that a resumed run writes the same
  bytes as one that was never stopped.

  Attributes:
    lines: lines of log.jsonl, each a dictionary with the key `step`.
    best: `step` and `val_dice` of the best evaluation so far, or None.
    skipped_in_a_row: number of updates that were skipped in a row, up to and
      including the latest step passed to `collect`.
    on_line: function that gets each new line, or None.
  """

  def __init__(self, workdir: str):
    self._path = os.path.join(workdir, 'log.jsonl')
    self.lines = []
    self.best = None
    self.skipped_in_a_row = 0
    self.on_line = None
    self._pending = []  # The metrics of each step since the last line.

  def restore(self, session: dict[str, Any]) -> None:
    """Restores the record from a checkpoint.

    Args:
      session: the value that the method `session` returned.
    """
    run_schema.check(session, _RECORD, 'session.json of the checkpoint')
    self.lines, self.best = session['lines'], known_best(session)
    self.skipped_in_a_row = session['skipped_in_a_row']
    self._pending = session['pending']

  def session(self) -> dict[str, Any]:
    """Returns the part of the record that can be stored as JSON."""
    return {
        'lines': self.lines,
        'pending': self._pending,
        'best': self.best,
        'skipped_in_a_row': self.skipped_in_a_row,
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
      causes: reasons why this update was skipped, which are written as a
        separate line; None if the update was not skipped.
    """
    self._pending.append(values)
    self.skipped_in_a_row = self.skipped_in_a_row + 1 if causes else 0
    if causes:
      self.write(step, {'skipped_update': causes})

  @property
  def has_pending(self) -> bool:
    return bool(self._pending)

  def report(self, step: int) -> dict[str, float]:
    """Writes a line with the means of the metrics since the previous line.

    Values that are not finite, which occur in skipped steps, do not count. The
    mean of `skipped` is the share of skipped steps.

    Args:
      step: number of updates done.

    Returns:
      The means, by name.
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
    line = {'step': step, **values}
    self.lines.append(line)
    if self.on_line is not None:
      self.on_line(line)

  def evaluated(self, step: int) -> bool:
    """Returns whether the log already contains the evaluation of a step."""
    return any(
        line['step'] == step and 'val_dice' in line
        for line in self.lines[-10:])

  def write_evaluation(
      self,
      step: int,
      val_dice: float,
      health: dict[str, float],
      warning: str = '',
  ) -> bool:
    """Appends a line about an evaluation.

    Args:
      step: number of updates done.
      val_dice: mean Dice of the validation split. It is nan if the split has no
        case that counts. Such an evaluation is never the best, and the log
        shows null for it.
      health: statistics of the indicators, by name, such as `indicator_mean`.
      warning: warning to write as a second line; '' if there is none.

    Returns:
      Whether this is the best evaluation so far.
    """
    known = not math.isnan(val_dice)
    self.write(step, {'val_dice': val_dice if known else None, **health})
    if warning:
      self.write(step, {'warning': warning})
    if known and (
        self.best is None or val_dice > self.best['val_dice']):
      self.best = {'step': step, 'val_dice': val_dice}
      return True
    return False

  def flush(self) -> None:
    """Writes log.jsonl atomically.

    Raises:
      binary.UserError: if the folder cannot be written.
    """
    try:
      with whole_file.open_whole(self._path, encoding='utf-8') as f:
        f.writelines(json.dumps(line) + '\n' for line in self.lines)
    except OSError as e:
      raise binary.UserError(
          f'Cannot write {self._path}: '
          f'{system_errors.why(e, self._path)}. Make room, or the folder '
          'writable, and start the same command again: it resumes.') from e


class Progress:
  """Reports the speed and the time left on the terminal and in timing.jsonl.

  These values depend on the machine, so they must not be in log.jsonl.
  """

  _SHOWN = {
      'strong_loss': 'strong',
      'weak_loss': 'weak',
      'co_reg_loss': 'co-reg',
      'mean_weight': 'weight',
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
    self._seen = None  # The step and the time of the previous report.

  def start(self, step: int) -> None:
    """Starts to measure the speed.

    Call this after the first step of a session. That step takes much longer,
    because it is compiled.
    """
    self._seen = (step, time.time())

  def print(self, step: int, means: dict[str, float]) -> None:
    """Reports the speed since the previous report, with the mean metrics.

    Args:
      step: number of updates done.
      means: means of the metrics, from `Log.report`.
    """
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
  """Returns a warning line if the indicators have collapsed, otherwise ''.

  They have collapsed if their mean is below `_LEAST_MEAN`. Since indicators are
  at most 1, the share of indicators above 0 and their `effective_share` are
  both at least the mean. Testing the mean therefore also detects the collapse
  in which few indicators keep all the weight.

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


def _count_compilation(event, seconds, **unused_kwargs):
  if event == '/jax/core/compile/backend_compile_duration':
    _compilations.append(seconds)


jax.monitoring.register_event_duration_secs_listener(_count_compilation)


def num_compilations() -> int:
  """Returns how many programs this process compiled or read from a cache."""
  return len(_compilations)


def compilation_seconds() -> float:
  """Returns the time that `num_compilations` programs took, in seconds."""
  return sum(_compilations)


def resident_mib() -> float:
  """Returns the resident memory of this process in MiB; nan without /proc."""
  try:
    with open('/proc/self/statm', encoding='utf-8') as f:
      pages = int(f.read().split()[1])
  except OSError:
    return float('nan')
  return pages * os.sysconf('SC_PAGE_SIZE') / 2**20
