r"""Measures what the indicators cost in FLOPs, memory and time of a step.

python -m experiments.benchmarks.step_time --image_size=96 --rounds=10

All variants of the training step run in one process and take turns, so that
other work on the machine slows all of them. Compare the ratios of their times.
FLOPs come from XLA's cost analysis of the compiled step, and temporary memory
from its buffer assignment.
"""

import functools
import time

from absl import flags
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import models
from hybridseg import train_step as train_step_lib
from hybridseg import types
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import binary

_IMAGE_SIZE = flags.DEFINE_integer('image_size', 96, 'Pixels.', lower_bound=16)
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 8, 'Strong and weak images per step, each.', lower_bound=2)
_FEATURES = flags.DEFINE_list(
    'features', ['16', '32', '64'], 'Channels of the U-Net, finest first.')
_ROUNDS = flags.DEFINE_integer('rounds', 10, 'Timed rounds.', lower_bound=1)

_NUM_WEAK = 64
# Maps the name of a variant to its weighting of the weak instances, and to
# whether alignments are computed from a loss other than the training loss. All
# variants use co-regularization.
_VARIANTS = {
    'uniform weights': (dict(name='uniform'), False),
    'DII, closed form, gradient per instance':
        (dict(name='dii', method='per_instance'), False),
    'DII, closed form, tangent pass':
        (dict(name='dii', method='forward'), False),
    'DII, closed form, tangent pass, alignment loss of its own':
        (dict(name='dii', method='forward'), True),
    'DII, jax.grad': (dict(name='dii', method='grad'), False),
    'DII, last layer, alignment loss of its own':
        (dict(name='dii_last_layer'), True),
}


def _batch(size, batch_size):
  rng = np.random.default_rng(0)

  def examples(ids):
    return types.Examples(
        image=rng.integers(0, 256, (batch_size, size, size, 3), np.uint8),
        label=rng.integers(0, 2, (batch_size, size, size), np.uint8),
        instance_id=ids.astype(np.int32),
    )

  return types.HybridBatch(
      strong=examples(np.full(batch_size, -1)),
      weak=examples(np.arange(batch_size)),
  )


def main():
  features = tuple(int(f) for f in _FEATURES.value)
  size = _IMAGE_SIZE.value
  model = models.build('unet', num_classes=2, options={'features': features})
  apply_fn = lambda params, images, **options: model.apply(
      {'params': params}, images, **options
  )
  optimizer = optax.adamw(1e-3)
  init_fn = lambda key: model.init(key, jnp.zeros((1, size, size, 3)))['params']
  batch, key = _batch(size, _BATCH_SIZE.value), jax.random.key(0)
  state = jax.jit(
      lambda: train_step_lib.init_state(
          init_fn, optimizer, key, num_weak=_NUM_WEAK
      )
  )()
  compiled = {}
  for name, (options, own_loss) in _VARIANTS.items():
    step_fn = train_step_lib.make_train_step(
        apply_fn,
        optimizer,
        num_classes=2,
        features_fn=functools.partial(apply_fn, return_features=True),
        augment_fn=functools.partial(
            augmentation.augment, options=augmentation.AugmentationOptions()
        ),
        supervision=train_step_lib.Supervision(
            losses.cross_entropy_dice_loss,
            losses.cross_entropy_dice_loss,
            losses.prior_free(losses.cross_entropy_dice_loss)
            if own_loss else None,
        ),
        weighting=train_step_lib.Weighting(**options),
        co_reg=train_step_lib.CoRegularization(scale=1.0),
    )
    compiled[name] = jax.jit(step_fn).lower(state, batch, key).compile()
    print(f'compiled: {name}', flush=True)

  times_s = {name: [] for name in compiled}
  for round_index in range(_ROUNDS.value + 1):
    for name, step in compiled.items():
      start = time.perf_counter()
      jax.block_until_ready(step(state, batch, key))
      if round_index:  # The first round only warms caches.
        times_s[name].append(time.perf_counter() - start)
  _print_table(compiled, times_s, features)


def _print_table(compiled, times_s, features):
  base = next(iter(compiled))
  flops = {n: c.cost_analysis()['flops'] for n, c in compiled.items()}
  memory = {
      n: c.memory_analysis().temp_size_in_bytes for n, c in compiled.items()
  }
  # Other work on the machine cancels out in the ratio of two times from the
  # same round.
  ratios = {
      n: np.median(np.array(t) / np.array(times_s[base]))
      for n, t in times_s.items()
  }
  print(
      f'\n{jax.devices()[0].device_kind}, jax {jax.__version__}, two U-Nets '
      f'{features}, {_BATCH_SIZE.value} strong + {_BATCH_SIZE.value} weak at '
      f'{_IMAGE_SIZE.value} x {_IMAGE_SIZE.value}, {_ROUNDS.value} rounds\n'
  )
  print('| step | GFLOPs | ratio | temp MiB | ratio | median s | ratio |')
  print('|---|---|---|---|---|---|---|')
  for n in compiled:
    print(
        f'| {n} | {flops[n] / 1e9:.2f} | {flops[n] / flops[base]:.3f} | '
        f'{memory[n] / 2**20:.0f} | {memory[n] / memory[base]:.2f} | '
        f'{np.median(times_s[n]):.3f} | {ratios[n]:.2f} |'
    )


if __name__ == '__main__':
  binary.run(main)
