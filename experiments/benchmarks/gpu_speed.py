r"""Measures a training step's speed on a GPU, and its share of the peak speed.

python -m experiments.benchmarks.gpu_speed --data_dir=data/endoscene192

Compiles and times several programs, and prints a line of JSON for each. They
are of two kinds: the full training step of DII + DCR, which trains two
networks; and a plain step of one network, with cross entropy + soft Dice and
AdamW but without augmentation, on as many images as the strong and the weak
batch of the full step together. If torch is installed, the plain step of the
U-Net is also timed in torch.

No other process may use the GPU meanwhile. Times are medians of `--rounds`
calls; each call ends before the next one begins.
"""

import json
import sys
import time

from absl import flags
from absl import logging
from hybridseg import augmentation
import jax
import numpy as np

from experiments import binary
from experiments.benchmarks import plain_step
from experiments.building import input_pipeline
from experiments.building import parts as parts_lib
from experiments.building import pieces
from experiments.configs import endoscene

_DATA_DIR = flags.DEFINE_string('data_dir', None, 'Prepared set.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 16, 'Of each role.')
_ROUNDS = flags.DEFINE_integer('rounds', 20, 'Timed calls of each program.')
_NETWORKS = flags.DEFINE_list(
    'networks', ['unet_full', 'effnet_lite0', 'deeplab_resnet50'], 'Variants.')
_PLAIN = ('unet_full', 'effnet_lite0')
_DTYPES = ('float32', 'bfloat16')


def _pieces(network, dtype):
  """Returns the model, the method and the schedule of a run."""
  config = endoscene.get_config(f'dii_dcr,{network}')
  config = config.copy_and_resolve_references().unlock()
  config.input.data_dir = _DATA_DIR.value
  config.input.strong_batch_size = _BATCH_SIZE.value
  config.input.weak_batch_size = _BATCH_SIZE.value
  config.model.options.dtype = dtype
  config.mapping = 'jit'
  return pieces.unpack(config)[1:]


def _full(dataset, network, dtype):
  """Compiles the full step of DII + DCR with two networks.

  Returns:
    The compiled step, and a function without arguments that calls it.
  """
  parts = parts_lib.build_training(dataset, *_pieces(network, dtype))
  place = parts.network.mapping
  state = place.replicate(parts.network.init_fn())
  key = place.replicate(jax.random.key(0))
  batch = place.place_batch(input_pipeline.train_batches(
      dataset, strong_batch_size=_BATCH_SIZE.value,
      weak_batch_size=_BATCH_SIZE.value, seed=0)[0])
  compiled = jax.jit(parts.step_fn).lower(state, batch, key).compile()
  return compiled, lambda: compiled(state, batch, key)


def _plain(dataset, network, dtype):
  """Compiles the plain step of one network, see `plain_step.build`."""
  model, *others = _pieces(network, dtype)
  network_parts = parts_lib.build_network(dataset, model, *others)
  return plain_step.build(
      network_parts.apply_fn, network_parts.init_fn().params[0],
      *_images(dataset), frozen_until=model.options.get('frozen_until', 0))


def _images(dataset):
  records = [dataset.splits['train_weak'][i]
             for i in range(2 * _BATCH_SIZE.value)]
  return (augmentation.to_float(np.stack([r['image'] for r in records])),
          np.stack([r['truth'] for r in records]).astype(np.int32))


def _median_s(call, wait):
  times = []
  for index in range(_ROUNDS.value + 2):  # The first two calls do not count.
    start = time.perf_counter()
    wait(call())
    if index >= 2:
      times.append(time.perf_counter() - start)
  return float(np.median(times))


def _line(what, build, dataset, network, dtype):
  line = dict(what=what, network=network, dtype=dtype)
  start = time.monotonic()
  try:
    compiled, call = build(dataset, network, dtype)
    compile_s = time.monotonic() - start
    seconds = _median_s(call, jax.block_until_ready)
  except jax.errors.JaxRuntimeError as e:  # The GPU may lack memory.
    return line | {'error': str(e).splitlines()[0][:200]}
  return line | dict(
      images_per_s=round(2 * _BATCH_SIZE.value / seconds, 1),
      ms=round(1e3 * seconds, 2), compile_s=round(compile_s, 1),
      tflop_per_s=round(
          compiled.cost_analysis()['flops'] / seconds / 1e12, 2),
      temp_mib=round(
          compiled.memory_analysis().temp_size_in_bytes / 2**20))


def _torch_lines(dataset):
  from experiments.benchmarks import torch_twins
  features = tuple(_pieces('unet_full', 'float32')[0].options['features'])
  for dtype in _DTYPES:
    net = torch_twins.UNet(features)
    seconds = _median_s(
        torch_twins.PlainStep(net, *_images(dataset), dtype=dtype),
        torch_twins.wait)
    yield dict(what='plain, torch', network='unet_full', dtype=dtype,
               images_per_s=round(2 * _BATCH_SIZE.value / seconds, 1),
               ms=round(1e3 * seconds, 2),
               num_params=sum(p.numel() for p in net.parameters()))


def main():
  logging.set_verbosity(logging.WARNING)
  dataset = input_pipeline.load_dataset(_DATA_DIR.value)
  for network in _NETWORKS.value:
    for dtype in _DTYPES:
      for what, build in (('full', _full), ('plain', _plain)):
        if what == 'full' or network in _PLAIN:
          print(json.dumps(_line(what, build, dataset, network, dtype)),
                flush=True)
  if 'unet_full' in _NETWORKS.value:
    try:
      for line in _torch_lines(dataset):
        print(json.dumps(line), flush=True)
    except ImportError:
      print('No torch here: its lines are left out.', file=sys.stderr)


if __name__ == '__main__':
  flags.mark_flags_as_required(['data_dir'])
  binary.run(main)
