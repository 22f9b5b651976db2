"""Trains several methods with one config, and tabulates their results."""

import os
from typing import Any

from hybridseg import parallel
import ml_collections
import numpy as np

from experiments import binary
from experiments import csv_files
from experiments.building import retraining
from experiments.configs import common
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.training import trainer


def compare(
    config: ml_collections.ConfigDict,
    workdir: str,
    *,
    record_machine: bool = False,
    listen: run_log.Listen | None = None,
) -> dict[str, dict[str, Any]]:
  """Trains each method with each seed of `config.compare`, and makes a table.

  A finished run is only evaluated again; a stopped run is resumed. Each run is
  written to WORKDIR/METHOD/seedN, and the table to compare.csv and metrics.json
  in WORKDIR.

  Args:
    config: config of the runs, with `compare.methods` and `compare.seeds`.
    workdir: folder of the comparison.
    record_machine: see `trainer.train_and_evaluate`.
    listen: see `run_log.Listen`.

  Returns:
    For each method: the test Dice of each seed, their mean and sample standard
    deviation, and for each seed the AUROC with which the indicators find
    planted faults; None if there are no planted faults.

  Raises:
    binary.UserError: if there is no seed, if a method is unknown, or if a run
      cannot start.
  """
  seeds = tuple(config.compare.seeds)
  if not seeds:
    raise binary.UserError('config.compare.seeds is empty: give one seed.')
  unknown = set(config.compare.methods) - set(common.METHODS)
  if unknown:
    raise binary.UserError(
        f'config.compare.methods: unknown {sorted(unknown)}; known: '
        f'{sorted(common.METHODS)}.'
    )
  table = {}
  for method in config.compare.methods:
    runs = []
    for seed in seeds:
      run_config = config.copy_and_resolve_references()
      with run_config.unlocked():
        run_config.update(common.METHODS[method])
        retraining.only_where_used(run_config.weighting)
        run_config.seed = seed
        run_config.compare.methods = ()
      run_config.lock()
      run_dir = os.path.join(workdir, method, f'seed{seed}')
      print(f'== {method}, seed {seed} -> {run_dir}', flush=True)
      runs.append(trainer.train_and_evaluate(
          run_config, run_dir, record_machine=record_machine, listen=listen))
    dice = [run['test']['dice'] for run in runs]
    aurocs = [run['indicators'].get('auroc') for run in runs]
    table[method] = {
        'dice_by_seed': dice,
        'dice': None if None in dice else float(np.mean(dice)),
        'dice_sd': None if None in dice or len(dice) < 2 else float(
            np.std(dice, ddof=1)),
        'auroc_by_seed': aurocs,
    }
  if not parallel.is_primary():
    return table
  run_folder.write_json(
      os.path.join(workdir, 'metrics.json'),
      {'seeds': list(seeds), 'methods': table},
  )
  csv_files.write_csv(
      os.path.join(workdir, 'compare.csv'),
      ['method', 'seed', 'test_dice', 'indicator_auroc'],
      [
          [method, seed, *('' if x is None else x for x in (dice, auroc))]
          for method, row in table.items()
          for seed, dice, auroc in zip(
              seeds, row['dice_by_seed'], row['auroc_by_seed'], strict=True
          )
      ],
  )
  print_table(table, seeds)
  return table


def print_table(table: dict[str, dict[str, Any]], seeds: tuple[int, ...]):
  """Prints the table, one line per method.

  Args:
    table: results of `compare`.
    seeds: seeds of the runs.
  """
  print(f'\n{"method":14s} {"test Dice":>16s}  {"indicator AUROC":>15s}'
        f'   (mean over seeds {", ".join(map(str, seeds))})')
  for method, row in table.items():
    dice = '-' if row['dice'] is None else f'{row["dice"]:.4f}'
    if row['dice_sd'] is not None:
      dice += f' ± {row["dice_sd"]:.4f}'
    moved = [a for a in row['auroc_by_seed'] if a is not None]
    auroc = f'{np.mean(moved):.3f}' if moved else '-'
    print(f'{method:14s} {dice:>16s}  {auroc:>15s}')
