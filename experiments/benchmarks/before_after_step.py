"""The training step of one checkout, for `before_after`.

PYTHONPATH=CHECKOUT python before_after_step.py NAME RESULT.npz

Compiles the full DII + DCR step of the case NAME with the `hybridseg` that it
imports, takes one step from the initial state, and writes what the step yields
to RESULT.npz. Then it reads lines from the standard input, and takes a step for
each. Every answer is one line of JSON on the standard output. It uses only
functions that both checkouts have.
"""

import functools
import json
import sys
import time

import hybridseg
from hybridseg import augmentation
from hybridseg import losses
from hybridseg import models
from hybridseg import train_step as train_step_lib
from hybridseg import types
from hybridseg.models import encoder_unet
import jax
import jax.numpy as jnp
import numpy as np
import optax

# Maps a case to a network, its options, the pixels of an image, and the number
# of strong and of weak images, each.
CASES = {
    'unet_small_64': ('unet', {'features': (8, 16, 32)}, 64, 8),
    'unet_small_96': ('unet', {'features': (8, 16, 32)}, 96, 8),
    'unet_full_96': ('unet', {'features': (32, 64, 128, 256, 512)}, 96, 2),
    'effnet_lite0_128': ('efficientnet_unet', {'frozen_until': 5}, 128, 8),
}
_NUM_WEAK = 64


def _batch(pixels, number):
  rng = np.random.default_rng(0)

  def examples(ids):
    return types.Examples(
        image=rng.integers(0, 256, (number, pixels, pixels, 3), np.uint8),
        label=rng.integers(0, 2, (number, pixels, pixels), np.uint8),
        instance_id=ids.astype(np.int32))

  return types.HybridBatch(
      strong=examples(np.full(number, -1)), weak=examples(np.arange(number)))


def _make_step(name):
  """Returns the step, not compiled, and a function that makes its state."""
  network, options, pixels, _ = CASES[name]
  model = models.build(network, num_classes=2, options=options)
  apply_fn = lambda params, images, **options: model.apply(
      {'params': params}, images, **options)
  frozen_until = options.get('frozen_until', 0)
  optimizer = adamw = optax.adamw(1e-3)
  if frozen_until:
    optimizer = optax.multi_transform(
        {'decoder': adamw, 'encoder': adamw, 'frozen': optax.set_to_zero()},
        functools.partial(encoder_unet.label_params, frozen_until=frozen_until))
  init_fn = lambda key: model.init(
      key, jnp.zeros((1, pixels, pixels, 3)))['params']
  step = train_step_lib.make_train_step(
      apply_fn, optimizer, num_classes=2,
      features_fn=functools.partial(apply_fn, return_features=True),
      augment_fn=functools.partial(
          augmentation.augment, options=augmentation.AugmentationOptions()),
      supervision=train_step_lib.Supervision(
          losses.cross_entropy_dice_loss, losses.cross_entropy_dice_loss,
          losses.prior_free(losses.cross_entropy_dice_loss)),
      weighting=train_step_lib.Weighting('dii_last_layer'),
      co_reg=train_step_lib.CoRegularization(scale=1.0),
      encode_fn=functools.partial(apply_fn, frozen_only=True)
      if frozen_until else None)
  return step, lambda: train_step_lib.init_state(
      init_fn, optimizer, jax.random.key(0), num_weak=_NUM_WEAK)


def _answer(**values):
  print(json.dumps(values), flush=True)


def _is_number(leaf):
  return not jnp.issubdtype(jnp.asarray(leaf).dtype, jax.dtypes.prng_key)


def main(name, result):
  step, make_state = _make_step(name)
  state = jax.jit(make_state)()
  batch, key = _batch(CASES[name][2], CASES[name][3]), jax.random.key(0)
  lowered = jax.jit(step).lower(state, batch, key)
  wall, cpu = time.perf_counter(), time.process_time()
  compiled = lowered.compile()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  after, metrics = compiled(state, batch, key)
  np.savez(result, **{
      f'{part}{jax.tree_util.keystr(path)}': np.asarray(leaf)
      for part, tree in (
          ('before', state), ('after', after), ('metrics', metrics))
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
      if _is_number(leaf)})
  _answer(library=hybridseg.__file__, jax=jax.__version__, wall_s=wall,
          cpu_s=cpu, mib=compiled.memory_analysis().temp_size_in_bytes / 2**20)
  for _ in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(state, batch, key))
    _answer(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)


if __name__ == '__main__':
  main(*sys.argv[1:])
