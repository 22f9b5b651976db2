r"""A small sweep over mixes of the phantom, for `experiments.plan_budget`.

python -m experiments.benchmarks.phantom_sweep --output=runs/sweep \
    --masks=8,32,96 --train_steps=100

The 120 training images of the phantom, of which the first ones in a fixed
random order keep their mask and all others get a box. For each number of masks,
one run from the masks alone (`strong_only`) and one from masks and boxes
(`uniform`). A finished run is not repeated. Leaves OUTPUT/runs/METHOD_MASKS.
"""

import csv
import os
import shutil
import subprocess
import sys

from absl import flags
import numpy as np

from experiments import binary

_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write.')
_MASKS = flags.DEFINE_list('masks', ['8', '32', '96'], 'Numbers of masks.')
_TRAIN_STEPS = flags.DEFINE_integer('train_steps', 100, 'Of each run.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of each run.')

_METHODS = ('strong_only', 'uniform')


def _call(module, *args):
  print('==', module, *args, flush=True)
  subprocess.run((sys.executable, '-m', module, *args), check=True)


def _copy_source(phantom, source):
  """Copies images and masks; `_0001` would be taken for a channel."""
  for part in ('images', 'masks'):
    os.makedirs(os.path.join(source, part), exist_ok=True)
    for name in os.listdir(os.path.join(phantom, part)):
      shutil.copy(os.path.join(phantom, part, name),
                  os.path.join(source, part, name.replace('_', '')))
  return source


def _write_splits(path, images, num_masks):
  """Splits as in the ids of the phantom; the first images stay strong."""
  ids = sorted(os.path.splitext(name)[0] for name in os.listdir(images))
  train = [i for i in ids if i.startswith('train')]
  strong = set(np.random.default_rng(0).permutation(train)[:num_masks])
  with open(path, 'w', newline='', encoding='utf-8') as f:
    writer = csv.writer(f)
    writer.writerow(['id', 'subject', 'split', 'role', 'fold'])
    for i in ids:
      weak = i.startswith('train') and i not in strong
      writer.writerow(
          [i, '', i.rstrip('0123456789'), 'weak' if weak else 'strong', ''])


def main():
  output = _OUTPUT.value
  phantom = os.path.join(output, 'phantom')
  os.makedirs(os.path.join(output, 'runs'), exist_ok=True)
  _call('data_prep.prepare', '--dataset=phantom', '--strong_fraction=0.99',
        f'--output={phantom}')
  source = _copy_source(phantom, os.path.join(output, 'source'))
  for number in _MASKS.value:
    splits = os.path.join(output, f'splits_{number}.csv')
    _write_splits(splits, os.path.join(source, 'images'), int(number))
    data_dir = os.path.join(output, f'data_{number}')
    _call('data_prep.prepare', f'--source={source}', f'--splits={splits}',
          '--simulate=box', '--fault_fraction=0', '--image_size=64',
          '--mask_values=0:0,255:1', '--near_copies=notice',
          f'--output={data_dir}')
    for method in _METHODS:
      _call(
          'experiments.train',
          f'--config=experiments/configs/phantom.py:{method}',
          f'--config.input.data_dir={data_dir}',
          f'--config.train_steps={_TRAIN_STEPS.value}',
          f'--config.seed={_SEED.value}',
          f'--workdir={output}/runs/{method}_{number}')


if __name__ == '__main__':
  flags.mark_flags_as_required(['output'])
  binary.run(main)
