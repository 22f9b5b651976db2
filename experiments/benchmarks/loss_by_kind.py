r"""Does the loss made for a kind of annotation beat the naive one?

python -m experiments.benchmarks.loss_by_kind --data_dir=data/endo_KIND \
    --kinds=box,polygon,points,scribble --workdir=runs/loss_by_kind

`data/endo_KIND` are sets prepared without planted faults, one per kind:

python -m data_prep.prepare --dataset=endoscene --source=FOLDER \
    --weak_kinds=KIND --fault_fraction=0 --output=data/endo_KIND

Trains with uniform weights, without co-regularization and without rotation, so
that nothing but the loss of the weak labels differs, and prints test Dice. The
naive loss of dense kinds is cross entropy + Dice on the filled shape, of sparse
ones cross entropy on the labelled pixels. A stopped benchmark resumes.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.prepare(sys.argv)  # Before anything imports JAX.
# isort: on

import os

from absl import flags
from absl import logging
import ml_collections
import numpy as np

from experiments import binary
from experiments.configs import common
from experiments.training import trainer

_DATA_DIR = flags.DEFINE_string(
    'data_dir', None, 'Prepared sets; KIND stands for the kind.')
_KINDS = flags.DEFINE_list('kinds', ['box', 'polygon', 'points'], 'To measure.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the runs.')
_STEPS = flags.DEFINE_integer('steps', 200, 'Per run.', lower_bound=1)
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'One run for each.')

_FILLED = ((1.0, 'cross_entropy_dice'),)
_SPARSE = {
    'partial cross entropy (naive)': ((1.0, 'cross_entropy'),),
    '+ 0.1 gated CRF': ((1.0, 'cross_entropy'), (0.1, 'gated_crf')),
    '+ total variation': ((1.0, 'cross_entropy'), (1.0, 'total_variation')),
}
_LOSSES = {
    'box': {
        'filled: cross entropy + Dice (naive)': _FILLED,
        'outside + projection': ((1.0, 'box'),),
        'outside + tightness': ((1.0, 'outside'), (1.0, 'tightness')),
    },
    'polygon': {
        'filled: cross entropy + Dice (naive)': _FILLED,
        'soft edges + Dice': ((1.0, 'soft_edge'), (1.0, 'soft_dice')),
    },
    'points': _SPARSE,
    'scribble': _SPARSE,
}


def _train(kind, name, terms, seed):
  config = common.get_base(_DATA_DIR.value.replace('KIND', kind))
  config.update(common.METHODS['uniform'])
  config.seed = seed
  config.train_steps = _STEPS.value
  config.eval_every_steps = config.checkpoint_every_steps = _STEPS.value
  config.augmentation.rotation_deg = 0.0
  config.supervision.loss_by_kind = ml_collections.ConfigDict({kind: terms})
  folder = ''.join(c if c.isalnum() else '_' for c in name)
  workdir = os.path.join(_WORKDIR.value, kind, folder, f'seed{seed}')
  return trainer.train_and_evaluate(config.lock(), workdir)['test']['dice']


def main():
  logging.set_verbosity(logging.WARNING)
  unknown = set(_KINDS.value) - set(_LOSSES)
  if unknown:
    raise binary.UserError(
        f'--kinds: unknown {sorted(unknown)}; known: {sorted(_LOSSES)}.')
  lines = [f'| kind | loss of the weak labels | Dice, seeds '
           f'{" / ".join(_SEEDS.value)} | mean | minus naive, by seed |',
           '|---|---|---|---|---|']
  for kind in _KINDS.value:
    naive = None
    for name, terms in _LOSSES[kind].items():
      dice = np.array([
          _train(kind, name, terms, int(seed)) for seed in _SEEDS.value])
      naive = dice if naive is None else naive
      texts = [' / '.join(f'{v:{f}.3f}' for v in values)
               for values, f in ((dice, ''), (dice - naive, '+'))]
      lines.append(
          f'| {kind} | {name} | {texts[0]} | {dice.mean():.3f} | {texts[1]} |')
      print('\n'.join(['', *lines, '']), flush=True)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir', 'workdir'])
  binary.run(main)
