r"""Methods on folds of the training blocks alone, cell after cell.

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --image_size=128 --output=data/endoscene
python -m experiments.benchmarks.method_folds --data_dir=data/endoscene \
    --network=effnet_lite0_frozen --workdir=runs/folds \
    --cells=experiments/results/method_folds

What is chosen here is not chosen on the published val and test splits, which no
cell reads: the training subjects are dealt to folds, evenly by their images;
each fold is tested on once, the next one is validated on, and the others are
trained on, with the annotations that the set gives them. A cell is one method
on one fold. CELLS/METHOD-foldF.json has its result: the same command again goes
on with the cells that have none, also where WORKDIR is a new one.
"""

from collections.abc import Sequence
import os
import pathlib
import time
from typing import Any

from absl import flags
from absl import logging
from data_prep import builder
from data_prep import manifest as manifest_lib
import jax

from experiments import binary
from experiments import input_pipeline
from experiments import run_folder
from experiments import trainer
from experiments.configs import endoscene

METHODS = (
    'strong_only', 'uniform', 'uniform_dcr', 'dii_dcr', 'uniform_refine',
    'dii_dcr_refine', 'full_supervision')

_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared set.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of folds and cells.')
_CELLS = flags.DEFINE_string('cells', None, 'Folder of the results.')
_METHODS = flags.DEFINE_list('methods', list(METHODS), 'In this order.')
_NETWORK = flags.DEFINE_string('network', 'effnet_lite0', 'Variant.')
_STEPS = flags.DEFINE_integer('train_steps', 300, 'Of each run.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of networks and order.')
_NUM_FOLDS = flags.DEFINE_integer('num_folds', 4, 'Of the training subjects.')
_FOLDS = flags.DEFINE_list('folds', ['0'], 'To run, from 0.')


def deal(rows: Sequence[manifest_lib.Row], num_folds: int) -> dict[str, int]:
  """Deals subjects to folds: the largest first, to the smallest fold.

  Args:
    rows: images to train on.
    num_folds: number of folds.

  Returns:
    Fold of each subject.
  """
  numbers = {}
  for row in rows:
    numbers[row.subject] = numbers.get(row.subject, 0) + 1
  sizes, folds = [0] * num_folds, {}
  for subject in sorted(numbers, key=lambda s: (-numbers[s], s)):
    folds[subject] = sizes.index(min(sizes))
    sizes[folds[subject]] += numbers[subject]
  return folds


def fold_rows(
    rows: Sequence[manifest_lib.Row], folds: dict[str, int], fold: int
) -> list[manifest_lib.Row]:
  """Returns the rows of one fold's set; those of val and test with masks.

  Args:
    rows: images to train on.
    folds: fold of each subject.
    fold: which one to test on.
  """
  num_folds = max(folds.values()) + 1
  splits = {fold: 'test', (fold + 1) % num_folds: 'val'}
  found = []
  for row in rows:
    split = splits.get(folds[row.subject], 'train')
    truth = (row.evaluation or {}).get('truth')
    if split != 'train' and row.role != 'strong':
      row = row._replace(role='strong', annotation=truth, evaluation=None)
    found.append(row._replace(split=split))
  return found


def _prepare(fold):
  """Writes the set of a fold, once; returns its folder."""
  output = pathlib.Path(_WORKDIR.value, 'data', f'fold{fold}').absolute()
  if (output / 'records').exists():
    return str(output)
  source = manifest_lib.read_manifest(
      os.path.join(_DATA_DIR.value, 'manifest.jsonl'))
  rows = [row for row in source.rows if row.split == 'train']
  output.mkdir(parents=True, exist_ok=True)
  manifest = manifest_lib.write_manifest(
      output / 'manifest.jsonl',
      source.header._replace(root=str(source.root.absolute())),
      fold_rows(rows, deal(rows, _NUM_FOLDS.value), fold))
  size = input_pipeline.load_dataset(_DATA_DIR.value).image_shape[0]
  builder.build(manifest, output=output / 'records', image_size=size)
  return str(output)


def _run(method, fold) -> dict[str, Any]:
  config = endoscene.get_config(f'{method},{_NETWORK.value}')
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir = _prepare(fold)
  config.train_steps, config.seed = _STEPS.value, _SEED.value
  start = time.monotonic()
  results = trainer.train_and_evaluate(
      config.lock(),
      os.path.join(_WORKDIR.value, 'runs', f'{method}-fold{fold}'))
  jax.clear_caches()
  return {
      'method': method, 'fold': fold, 'network': _NETWORK.value,
      'train_steps': _STEPS.value, 'seed': _SEED.value,
      'test_dice': results['test']['dice'], 'val_dice': results['val']['dice'],
      'num_cases': results['test']['num_cases'],
      'auroc': results['indicators'].get('auroc'),
      'seconds': round(time.monotonic() - start)}


def main():
  logging.set_verbosity(logging.WARNING)
  folder = _CELLS.value
  os.makedirs(folder, exist_ok=True)
  for fold in map(int, _FOLDS.value):
    for method in _METHODS.value:
      path = os.path.join(folder, f'{method}-fold{fold}.json')
      if not os.path.exists(path):
        run_folder.write_json(path, _run(method, fold))
      cell = run_folder.read_json(path)
      print(f'{method}, fold {fold}: test Dice {cell["test_dice"]:.4f}, val '
            f'{cell["val_dice"]:.4f}, {cell["seconds"]} s', flush=True)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir', 'workdir', 'cells'])
  binary.run(main)
