r"""Trains several methods on several sets, and tabulates the results.

python -m experiments.sweep --config=experiments/configs/tables/phantom.py \
    --workdir=runs/table
python -m experiments.sweep --config=experiments/configs/tables/endoscene.py \
    --source=FOLDER --workdir=runs/table --list

A cell of the table is one run: a method, trained with one seed on one set. Sets
differ in the share of strong images, and in the kind and quality of their weak
labels. The folder of a cell, WORKDIR/cells/SET/METHOD/seedN, is a run folder
like any other. Sets are prepared in WORKDIR/data. Cells run one after another.
The same command resumes a stopped sweep and skips finished cells. If a cell
fails, it is reported, the others still run, and the exit code is 4.

To use several devices, start the command once per device. Each process takes
the next cell that no other process has taken. The processes may run on several
machines that share WORKDIR:

for i in 0 1 2 3; do
  CUDA_VISIBLE_DEVICES=$i python -m experiments.sweep ... &
done

A process ends when all cells are done. If one is killed, another takes its cell
over: at once on the same machine, else after a minute without a sign from it
(see `experiments.tables.claims`).

After each cell, and with --list, WORKDIR/table.csv (one line per cell),
table.md and table.png are rewritten from the cells that are done.
`experiments.tables.sweep_files` explains how to read them.
"""

from collections.abc import Callable, Sequence
import contextlib
import functools
import os
import sys
import time

from absl import flags
from ml_collections import config_flags
from data_prep.shared import early_help

from experiments import launcher

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'The table.', lock_config=True)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the table.')
_SOURCE = flags.DEFINE_string(
    'source', None, "Folder of the original dataset, instead of the config's.")
_LIST = flags.DEFINE_bool(
    'list', False, 'Print the progress of each cell, and train nothing.')
_ONLY = flags.DEFINE_list('only', [], 'Methods to train; default is all.')
_MAX_CELLS = flags.DEFINE_integer(
    'max_cells', None, 'Stop after this many cells.', lower_bound=1)

early_help.answer(__name__)  # Answer --help before the slow imports.

if __name__ == '__main__':
  launcher.prepare(sys.argv)  # JAX must not be imported before this.

from absl import logging
from data_prep.shared import grammar
import jax
import numpy as np

from experiments import binary
from experiments.building import config_checks
from experiments.saving import run_folder
from experiments.tables import claims
from experiments.tables import grid
from experiments.tables import sweep_files
from experiments.tables import sweep_sets
from experiments.training import trainer


def run_cells(
    cells: Sequence[grid.Cell],
    workdir: str,
    *,
    source: str = '',
    max_cells: int | None = None,
    on_end: Callable[[], None] = lambda: None,
    should_stop: Callable[[int], bool] | None = None,
) -> list[str]:
  """Trains the cells that are not done, one after another.

  Cells that other processes train are waited for, and taken over if a process
  gives no sign any more.

  Args:
    cells: cells of a table.
    workdir: folder of the table.
    source: folder of the original dataset; '' if the dataset is generated.
    max_cells: largest number of cells to train; None trains all.
    on_end: function that is called once before the first cell, after each cell,
      and at the end if other processes have trained cells, too.
    should_stop: see `trainer.train_and_evaluate`.

  Returns:
    For each cell that failed, one line with its name and the reason.

  Raises:
    binary.UserError: if a set cannot be prepared.
    OSError: if the claims of the cells cannot be read or written.
    binary.Stopped: if the user stopped the sweep, or after `max_cells`;
      everything is saved.
  """
  states = [grid.read_state(cell) for cell in cells]
  left = [i for i, state in enumerate(states) if state.name != 'done']
  done = len(cells) - len(left)
  print(f'{done} of {grammar.counted(len(cells), "cell")} '
        f'{grammar.verb(done, "are")} done.', flush=True)
  for setting in dict.fromkeys(cells[i].setting for i in left[:max_cells]):
    sweep_sets.prepare(workdir, setting, source)
  on_end()
  failures, num_trained, num_elsewhere = [], 0, 0
  durations = [(cell.method, state.seconds) for cell, state in zip(
      cells, states, strict=True) if state.name == 'done']
  claimant, is_first_pass = claims.Claimant(), True
  while left:
    for i in list(left):
      cell = cells[i]
      if num_trained == max_cells:
        raise binary.Stopped(
            f'--max_cells: not yet run: {len(left)} of '
            f'{grammar.counted(len(cells), "cell")}. The same command resumes.')
      claim = claimant.take(cell.claim, in_use=functools.partial(
          run_folder.is_locked, cell.folder))
      if claim is None:
        if grid.read_state(cell).name == 'done':
          num_elsewhere += 1
          left.remove(i)
        continue
      with claim:
        state = grid.read_state(cell)
        has_failed = state.name == 'failed' and state != states[i]
        if state.name == 'done' or has_failed:  # In another process.
          if has_failed:
            failures.append(f'{cell.words}: {state.why}')
          else:
            claim.finish()
          num_elsewhere += 1
          left.remove(i)
          continue
        coming = [cells[j].method for j in left]
        print(f'\n== cell {i + 1} of {len(cells)}: {cell.words}'
              f'{_time_left(durations, coming)}', flush=True)
        # If other processes have taken the first cells, this one may need a set
        # that was not prepared above.
        sweep_sets.prepare(workdir, cell.setting, source)
        try:
          seconds, why = _train(cell, state, claim, should_stop)
        except claims.Lost as e:
          print(f'{cell.words}: {e}; this process writes nothing more there.',
                file=sys.stderr, flush=True)
          continue
      left.remove(i)
      num_trained += 1
      durations.append((cell.method, seconds))
      if why:
        failures.append(f'{cell.words}: {why}')
        print(f'Failed: {why}', file=sys.stderr, flush=True)
      on_end()
    if left:
      if is_first_pass:
        print(f'\nWaiting for {grammar.counted(len(left), "cell")} of other '
              'processes. What one of them leaves is taken over.', flush=True)
      is_first_pass = False
      claimant.pause()
  if num_elsewhere:
    on_end()
    print('\nTaken by other processes: '
          f'{grammar.counted(num_elsewhere, "cell")}.', flush=True)
  return failures


def write_in_turn(workdir: str, write: Callable[[], None]) -> None:
  """Calls a function that writes the tables while no other process does.

  Without the claim, a slow process could overwrite a newer table. A process
  that loses it, because it was suspended, leaves the tables to the others.

  Args:
    workdir: folder of the table.
    write: the function.
  """
  claimant = claims.Claimant()
  with claimant.wait(
      os.path.join(workdir, 'claims', 'table'), 'writes the tables') as claim:
    try:
      write()
    except (OSError, binary.UserError):
      try:
        claim.check()
      except claims.Lost:
        return
      raise


def _time_left(durations, coming):
  """Estimates the time that the remaining cells take, from the finished ones.

  Args:
    durations: method and seconds of each finished cell.
    coming: method of each remaining cell.

  Returns:
    The end of a sentence that states the time; '' if no cell is finished.
  """
  if not durations:
    return ''
  total = 0.0
  for method in coming:
    alike = [x for m, x in durations if m == method]
    total += np.mean(alike or [x for _, x in durations])
  return (f'; about {total / 60:.0f} min left for '
          f'{grammar.counted(len(coming), "cell")}')


def _train(cell, state, claim, should_stop):
  """Trains one cell, and records its time and whether it failed.

  Returns:
    The total seconds of all sessions of the cell, and the reason if it failed,
    else ''.

  Raises:
    claims.Lost: if another process has taken the cell over.
  """
  if state.name == 'another run':
    return state.seconds, state.why  # Leave the folder of the other run alone.
  start, why = time.monotonic(), ''
  spent = lambda: state.seconds + time.monotonic() - start
  try:
    trainer.train_and_evaluate(
        cell.config, cell.folder, should_stop=should_stop, check=claim.check)
  except binary.UserError as e:
    why = str(e)
  except binary.Stopped:
    with contextlib.suppress(claims.Lost):
      claim.check()
      grid.write_end(cell, seconds=spent())
    raise
  finally:
    # Otherwise the compiled programs of all cells would stay in memory. Those
    # that the next cell shares are read from the disk (`program_cache`).
    jax.clear_caches()
  claim.check()
  grid.write_end(cell, seconds=spent(), why=why)
  if not why:
    claim.finish()
  return spent(), why


def _choose(cells, methods):
  """Returns the cells of the methods that --only names, or all cells."""
  known = {cell.method for cell in cells}
  unknown = sorted(set(methods) - known)
  if unknown:
    raise binary.UserError(
        f'--only: {unknown[0]!r} is not in this table; its methods: '
        f'{", ".join(dict.fromkeys(cell.method for cell in cells))}.')
  return [c for c in cells if not methods or c.method in methods]


def main():
  logging.set_verbosity(logging.WARNING)
  config, workdir = _CONFIG.value, _WORKDIR.value
  cells = grid.make_cells(config, workdir)
  chosen = _choose(cells, _ONLY.value)

  write_tables = functools.partial(write_in_turn, workdir, functools.partial(
      sweep_files.write, cells, workdir, reference=config.reference))

  if _LIST.value:
    for cell in chosen:
      print(f'{cell.words}: {grid.read_state(cell).words}')
    if os.path.isdir(workdir):
      write_tables()
    return
  # Check once here: otherwise each cell would fail with the same error.
  config_checks.check_jax()
  source = config.source if _SOURCE.value is None else _SOURCE.value
  failures = run_cells(
      chosen, workdir, source=source, max_cells=_MAX_CELLS.value,
      on_end=write_tables)
  print(f'\nTable: {os.path.join(workdir, "table.md")}')
  if failures:
    raise binary.Incomplete(
        f'{len(failures)} of {grammar.counted(len(chosen), "cell")} failed: '
        f'{failures[0]}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  binary.run(main)
