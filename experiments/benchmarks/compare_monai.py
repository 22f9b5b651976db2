r"""Trains MONAI networks on the patches of a run on whole volumes.

python -m experiments.benchmarks.compare_monai \
    --run=runs/hippocampus/full_supervision/seed0 --output=monai.csv
python -m experiments.compare \
    --results=runs/hippocampus/full_supervision/seed0,monai.csv

It needs torch and MONAI (`pip install torch monai`). The networks are two of
MONAI's DynUNet, with the channels, strides and kernels of the run's networks.
They see the patches of the run in the same order, augmented in the same way,
for as many steps, with the learning rates of the run and AdamW. All else is
MONAI's: norms, activations, the loss DiceCELoss, and
`sliding_window_inference` with Gaussian weights. For that loss, voxels outside
of a volume are background.

The scores of each test case are written to `--output`, in the form that
`experiments.compare` reads. As in the run, the probabilities of both networks
are averaged.
"""

import importlib.util
import time

from absl import flags
from data_prep.shared import progress
from hybridseg import train_step
from hybridseg import types
from hybridseg import volume_augmentation
import jax
import numpy as np

from experiments import binary
from experiments.building import input_pipeline
from experiments.building import pieces
from experiments.building import volume_patches
from experiments.building import volume_set
from experiments.evaluation import scoring
from experiments.evaluation import volume_evaluation
from experiments.saving import run_folder

_RUN = flags.DEFINE_string(
    'run', None, 'Folder of a finished run of full_supervision on volumes.',
    required=True)
_OUTPUT = flags.DEFINE_string('output', 'monai.csv', 'Table of the scores.')
_NETWORKS = flags.DEFINE_integer(
    'networks', 2, 'Number of networks, with seeds from 0.', lower_bound=1)


def _draw_patches(batches, step, key, *, options, spacing):
  """Returns the augmented patches of a step, strong ones first.

  They are those that `train_step` makes from the same seed.

  Returns:
    Images, float32 [B, 1, D, H, W], and labels, int64 [B, 1, D, H, W].
  """
  keys = jax.random.split(jax.random.fold_in(key, step), 3)
  images, labels = [], []
  for key, examples in zip(keys, batches[step], strict=False):
    made = volume_augmentation.augment_volumes(
        train_step.instance_keys(key, len(examples.image)), examples,
        options=options, spacing=spacing)
    images.append(np.moveaxis(np.asarray(made.image), -1, 1))
    labels.append(np.asarray(made.label, np.int64)[:, None])
  labels = np.concatenate(labels)
  return np.concatenate(images), np.where(labels == types.UNLABELLED, 0, labels)


def main():
  if not all(map(importlib.util.find_spec, ('monai', 'torch'))):
    raise binary.UserError(
        'There is no MONAI to compare with: pip install torch monai.')
  import monai
  import torch

  config = run_folder.read_config(_RUN.value)
  run = pieces.unpack(config)
  dataset = volume_set.load(run.data.data_dir)
  batches = volume_patches.PatchBatches(
      dataset, volume_set.with_batch_sizes(run.data, dataset),
      seed=run.schedule.seed)
  options = volume_set.network_options(run.model, dataset.plan)
  num_classes, steps = len(dataset.classes), run.schedule.train_steps

  def build(seed):
    torch.manual_seed(seed)
    return monai.networks.nets.DynUNet(
        3, 1, num_classes, kernel_size=options['kernels'],
        strides=[(1, 1, 1), *options['strides']],
        upsample_kernel_size=options['strides'], filters=options['features'])

  networks = [build(seed) for seed in range(_NETWORKS.value)]
  number = sum(p.numel() for p in networks[0].parameters())
  print(f'monai {monai.__version__}, torch {torch.__version__}, '
        f'{_NETWORKS.value} x DynUNet of {number:,} parameters', flush=True)
  loss_fn = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True)
  rates = pieces.learning_rates(config.optimizer, steps)
  optimizers = [torch.optim.AdamW(
      net.parameters(), weight_decay=config.optimizer.weight_decay)
                for net in networks]
  key, told = jax.random.key(run.schedule.seed), progress.Progress(
      steps, 'steps')
  spent = 0.0
  for step in range(steps):
    images, labels = map(torch.from_numpy, _draw_patches(
        batches, step, key, options=run.method.augmentation.options,
        spacing=dataset.plan.spacing_mm))
    start = time.process_time()
    for net, optimizer in zip(networks, optimizers, strict=True):
      optimizer.param_groups[0]['lr'] = float(rates(step))
      optimizer.zero_grad()
      loss = loss_fn(net(images), labels)
      loss.backward()
      torch.nn.utils.clip_grad_norm_(
          net.parameters(), config.optimizer.clip_norm)
      optimizer.step()
    spent += time.process_time() - start
    told(step + 1)
  print(f'last loss {loss.item():.3f}; {spent / steps:.3f} s of processor time '
        'a step, without patches', flush=True)

  def predict(record):
    image = torch.from_numpy(np.moveaxis(record['image'], -1, 0)[None])
    with torch.no_grad():
      probs = sum(monai.inferers.sliding_window_inference(
          image, dataset.plan.patch_size, 2, net.eval(), overlap=0.5,
          mode='gaussian', padding_mode='replicate').softmax(1)
                  for net in networks) / len(networks)
    return np.moveaxis(probs[0].numpy(), 0, -1)

  test = dataset.splits['test']
  rows = [scoring.score_case(
      volume_evaluation.restore(predict(record), record, dataset.plan),
      record.reference(), num_classes=num_classes,
      spacing=record.stored_spacing_mm,
      tolerance=volume_evaluation.TOLERANCE_MM) for record in test]
  scores = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
  column = lambda name: input_pipeline.column(test, name).tolist()
  scoring.write_cases(
      _OUTPUT.value, column('id'), column('subject'), scores, dataset.classes)
  for name in ('dice', 'hd95', 'assd', 'nsd'):
    means = np.nanmean(scores[name], 0)[1:]
    print(f'test {name} {means.mean():.4f} ' + ' '.join(
        f'{c} {value:.4f}' for c, value in zip(
            dataset.classes[1:], means, strict=True)))
  print(f'Scores of each case: {_OUTPUT.value}')


if __name__ == '__main__':
  binary.run(main)
