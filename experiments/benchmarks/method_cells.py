r"""Compares methods on folds of the training subjects, one run after another.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --image_size=128 --output=data/endoscene
python -m experiments.benchmarks.method_cells --data_dir=data/endoscene \
    --parts=0,1,2,3 --train_steps=300,600 --workdir=runs/cells --cells=CELLS

The published val and test splits must not decide which method is chosen. The
training subjects are therefore divided into folds with about equal numbers of
images. For each fold in --parts, networks are trained on the other folds, with
the annotations of the set, and tested on this fold. `--parts=published` trains
on all training subjects instead, and tests on the published val and test
splits.

A cell is one run: a method, trained without one fold, with one number of steps
and one seed. For each cell, CELLS gets a file with the mean Dice and the number
of images of every held-out subject. The same command skips the cells that have
a file, even if another machine wrote it. Several commands can share the work if
each has its own --methods or --parts. METHOD_refine starts from the finished
run of METHOD, if there is one: list METHOD first, and the time of that run is
not counted twice. Networks are always tested after their last step.

To try a change of a method, name the changed method in --change, and list that
name in --methods:

    --change=uniform_light:uniform:supervision.weak_scale=0.3

--without_faults trains on the set without the weak labels whose fault was
planted. Its cells are named METHOD_without_faults: an oracle, which knows the
faults.
"""

import ast
from collections.abc import Sequence
import itertools
import os
import pathlib
import shutil
import time
from typing import Any

from absl import flags
from absl import logging
from data_prep import manifest as manifest_lib
from data_prep.records import builder
import jax
import ml_collections

from experiments import binary
from experiments.benchmarks import folds as folds_lib
from experiments.building import input_pipeline
from experiments.configs import endoscene
from experiments.saving import run_folder
from experiments.saving import run_schema
from experiments.training import refining
from experiments.training import trainer

METHODS = (
    'strong_only', 'uniform', 'uniform_dcr', 'dii_dcr', 'uniform_refine',
    'dii_dcr_refine', 'full_supervision')
PUBLISHED = 'published'

_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared set.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of folds and runs.')
_CELLS = flags.DEFINE_string('cells', None, 'Folder of the results.')
_METHODS = flags.DEFINE_list('methods', list(METHODS), 'In this order.')
_NETWORK = flags.DEFINE_string('network', 'effnet_lite0', 'Variant.')
_STEPS = flags.DEFINE_list('train_steps', ['300'], 'Of each run.')
_SEEDS = flags.DEFINE_list('seeds', ['0'], 'Of networks and order.')
_NUM_FOLDS = flags.DEFINE_integer('num_folds', 4, 'Of the training subjects.')
_PARTS = flags.DEFINE_list(
    'parts', ['0'], f'Folds to hold out, from 0; or {PUBLISHED}.')
_CHANGES = flags.DEFINE_multi_string(
    'change', [], 'NAME:METHOD:KEY=VALUE;KEY=VALUE: METHOD, but for these keys '
    'of its config; a VALUE is written as in Python.')
_WITHOUT_FAULTS = flags.DEFINE_bool(
    'without_faults', False, 'Whether to leave out labels with planted faults.')
_DRAW = flags.DEFINE_integer(
    'draw', 0, 'Of the exact masks: the --seed that the set was prepared with.')


def _prepare(part):
  """Writes the set of a part unless it exists, and returns its folder."""
  if part == PUBLISHED and not _WITHOUT_FAULTS.value:
    return _DATA_DIR.value
  name = part if part == PUBLISHED else f'fold{part}'
  if _WITHOUT_FAULTS.value:
    name += '-without-faults'
  output = pathlib.Path(_WORKDIR.value, 'data', name).absolute()
  if (output / 'records').exists():
    return str(output)
  source = manifest_lib.read_manifest(
      os.path.join(_DATA_DIR.value, 'manifest.jsonl'))
  rows = source.rows
  if part != PUBLISHED:
    rows = [row for row in rows if row.split == 'train']
    folds = folds_lib.deal(rows, _NUM_FOLDS.value)
    rows = folds_lib.fold_rows(rows, folds, int(part))
  output.mkdir(parents=True, exist_ok=True)
  manifest = manifest_lib.write_manifest(
      output / 'manifest.jsonl',
      source.header._replace(root=str(source.root.absolute())),
      folds_lib.sound_rows(rows) if _WITHOUT_FAULTS.value else rows)
  size = input_pipeline.load_dataset(_DATA_DIR.value).image_shape[0]
  builder.build(manifest, output=output / 'records', image_size=size)
  return str(output)


def _start_from_base(method, workdir):
  """Copies a finished run of METHOD to where METHOD_refine trains it first."""
  folder, name = os.path.split(workdir)
  base = os.path.join(
      folder, name.replace(method, method.removesuffix('_refine'), 1))
  first = os.path.join(workdir, refining.FIRST_FOLDER)
  if base != workdir and not os.path.exists(first) and os.path.exists(
      os.path.join(base, 'metrics.json')):
    shutil.copytree(base, first)


def make_config(
    method: str, network: str, changes: Sequence[str]
) -> ml_collections.ConfigDict:
  """Returns the config of a method or of a changed method, not locked.

  Args:
    method: name of a method, or a NAME from --change.
    network: variant of `common.NETWORKS`.
    changes: values of the flag --change.
  """
  found = {}
  for change in changes:
    name, base, settings = change.split(':', 2)
    found[name] = base, [s.split('=', 1) for s in settings.split(';')]
  base, settings = found.get(method, (method, ()))
  config = endoscene.get_config(f'{base},{network}')
  config = config.copy_and_resolve_references().unlock()
  for key, value in settings:
    config.update_from_flattened_dict({key: ast.literal_eval(value)})
  return config


def _run(method, part, steps, seed, workdir) -> dict[str, Any]:
  config = make_config(method, _NETWORK.value, _CHANGES.value)
  config.input.data_dir = _prepare(part)
  config.train_steps, config.seed = steps, seed
  config.lock()
  start = time.monotonic()
  _start_from_base(method, workdir)
  results = trainer.train_and_evaluate(config, workdir)
  jax.clear_caches()
  return folds_lib.cell_of(workdir, results) | {
      'method': _cell_method(method),
      'change': next(
          (c for c in _CHANGES.value if c.startswith(f'{method}:')), ''),
      'part': part, 'network': _NETWORK.value,
      'train_steps': steps, 'seed': seed, 'draw': _DRAW.value,
      'val_dice': results['val']['dice'], 'test_dice': results['test']['dice'],
      'seconds': round(time.monotonic() - start)}


def _cell_method(method):
  return f'{method}_without_faults' if _WITHOUT_FAULTS.value else method


def main():
  logging.set_verbosity(logging.WARNING)
  os.makedirs(_CELLS.value, exist_ok=True)
  for part in _PARTS.value:
    _prepare(part)
  for steps, part, seed, method in itertools.product(
      _STEPS.value, _PARTS.value, _SEEDS.value, _METHODS.value):
    name = (f'{_cell_method(method)}-{part}-{steps}steps-draw{_DRAW.value}'
            f'-seed{seed}')
    path = os.path.join(_CELLS.value, f'{name}.json')
    if not os.path.exists(path):
      run_folder.write_json(path, _run(
          method, part, int(steps), int(seed),
          os.path.join(_WORKDIR.value, 'runs', name)))
    cell = run_schema.read(path)
    print(f'{name}: Dice {cell["dice"]:.4f}, {cell["seconds"]} s', flush=True)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir', 'workdir', 'cells'])
  binary.run(main)
