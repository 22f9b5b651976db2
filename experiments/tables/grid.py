"""Defines the cells (runs) of a sweep's table, and reads their progress."""

import itertools
import json
import os
from typing import Any, NamedTuple

from data_prep.shared import system_errors
import ml_collections

from experiments import binary
from experiments.building import retraining
from experiments.configs import common
from experiments.saving import checkpoints
from experiments.saving import resuming
from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.tables import claims
from experiments.tables import sweep_sets


_END = {'seconds': run_schema.NUMBER, 'why': run_schema.Maybe(run_schema.TEXT)}


class Cell(NamedTuple):
  """One run of a table.

  Attributes:
    setting: properties of the set that the run is trained on.
    method: a key of `common.METHODS` or of `config.variants` of the table.
    seed: seed of the run.
    config: config of the run, locked.
    folder: folder of the run.
    claim: folder of its claim, see `claims`.
  """

  setting: sweep_sets.Setting
  method: str
  seed: int
  config: ml_collections.ConfigDict
  folder: str
  claim: str

  @property
  def words(self) -> str:
    return f'{self.method}, {self.setting.words}, seed {self.seed}'


class State(NamedTuple):
  """The progress of a cell.

  Attributes:
    name: 'done', 'running', 'stopped', 'failed', 'another run' or
      'not started'.
    step: number of updates done, according to the files of the folder.
    why: one line that explains why the cell failed, in which settings the other
      run in its folder differs, or which process trains the cell; else ''.
    results: content of metrics.json if the cell is done, else None.
    seconds: total time of the cell's sessions, without those that were killed.
  """

  name: str
  step: int = 0
  why: str = ''
  results: dict[str, Any] | None = None
  seconds: float = 0.0

  @property
  def words(self) -> str:
    if self.name == 'done':
      dice = self.results['test']['dice']
      return ('done, no test case counts' if dice is None
              else f'done, test Dice {dice:.4f}')
    if self.name == 'running':
      return f'running at step {self.step}, by {self.why}'
    if self.name == 'stopped':
      return f'stopped at step {self.step}'
    return f'{self.name}: {self.why}' if self.why else self.name


def make_cells(
    config: ml_collections.ConfigDict, workdir: str
) -> list[Cell]:
  """Returns the cells of a table, in the order in which they are run.

  All methods of one seed come before the next seed, so that an unfinished table
  compares as many methods as possible.

  Args:
    config: config of a table, see `experiments/configs/tables/common.py`.
    workdir: folder of the table.

  Raises:
    binary.UserError: if the table has no cell, or if a method, a seed or a
      property of the sets is invalid.
  """
  if 'variants' not in config or 'base' not in config:
    raise binary.UserError(
        '--config is of one run, not of a table: give one of '
        'experiments/configs/tables/, or train with the variant compare.')
  known = _methods(config)
  sweep_sets.check_axis(
      config, 'methods', lambda m: m in known, f'methods ({", ".join(known)})')
  sweep_sets.check_axis(
      config, 'seeds', lambda s: isinstance(s, int) and s >= 0,
      'whole numbers from 0')
  if config.reference not in config.methods:
    raise binary.UserError(
        f'config.reference: {config.reference!r} is not in config.methods.')
  path = lambda *names: os.path.join(workdir, *names)
  return [
      Cell(setting, method, seed,
           _run_config(config, setting, method, seed, workdir),
           path('cells', setting.name, method, f'seed{seed}'),
           path('claims', 'cells', setting.name, method, f'seed{seed}'))
      for setting, seed, method in itertools.product(
          sweep_sets.make_settings(config), config.seeds, config.methods)]


def _methods(config):
  """Returns the config overrides of each method that the table may train."""
  return common.METHODS | config.variants.to_dict()


def _run_config(config, setting, method, seed, workdir):
  run = config.base.copy_and_resolve_references().unlock()
  run.update(_methods(config)[method])
  retraining.only_where_used(run.weighting)
  run.seed = seed
  run.input.data_dir = sweep_sets.folder(workdir, setting)
  return run.lock()


def read_state(cell: Cell) -> State:
  """Returns the progress of a cell, read from the small files of its folder.

  Raises:
    binary.UserError: if a file of the cell is damaged.
  """
  read = lambda name, schema: run_schema.read(
      os.path.join(cell.folder, name), schema)
  there = lambda name: os.path.exists(os.path.join(cell.folder, name))
  if there('config.json'):
    try:
      resuming.check_same(
          resuming.changes(
              run_schema.read_config(os.path.join(cell.folder, 'config.json')),
              json.loads(cell.config.to_json())), cell.folder)
    except binary.UserError as e:
      return State('another run', why=str(e))
  end = {'seconds': 0.0}
  if there('cell.json'):
    end = read('cell.json', _END)
  seconds = end['seconds']
  if there('metrics.json'):
    results = read('metrics.json', run_schema.RESULTS)
    return State('done', results['step'], results=results, seconds=seconds)
  step = max(checkpoints.Checkpoints(cell.folder).steps(), default=0)
  other = claims.holder(cell.claim)
  if other is not None:
    return State('running', max(step, _last_told(cell.folder)), other.words,
                 seconds=seconds)
  why = end.get('why')
  if why:
    return State('failed', step, why, seconds=seconds)
  return State('stopped' if there('config.json') else 'not started', step,
               seconds=seconds)


def _last_told(folder):
  """Returns the last step in timing.jsonl, the speed log of a running cell."""
  try:
    with open(os.path.join(folder, 'timing.jsonl'), encoding='utf-8') as f:
      return max((json.loads(line)['step'] for line in f
                  if line.endswith('\n')), default=0)
  except FileNotFoundError:
    return 0


def write_end(cell: Cell, *, seconds: float, why: str = '') -> None:
  """Writes cell.json: the time that a cell took, and why it failed, if it did.

  Args:
    cell: a cell, whose folder may not exist yet.
    seconds: total time of all its sessions, in seconds.
    why: reason of the failure; '' if it did not fail.

  Raises:
    binary.UserError: if the file cannot be written.
  """
  try:
    os.makedirs(cell.folder, exist_ok=True)
    run_folder.write_json(
        os.path.join(cell.folder, 'cell.json'),
        {'seconds': round(seconds, 1), 'why': why})
  except OSError as e:
    raise binary.UserError(system_errors.in_words(e, cell.folder)) from e
