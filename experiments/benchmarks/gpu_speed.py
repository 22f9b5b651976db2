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
from hybridseg import losses
import jax
import numpy as np
import optax

from experiments import binary
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
  """Compiles the plain step of one network.

  Returns:
    The compiled step, and a function without arguments that calls it.
  """
  network_parts = parts_lib.build_network(dataset, *_pieces(network, dtype))
  params = network_parts.init_fn().params[0]
  optimizer = optax.adamw(1e-3)
  images, labels = _images(dataset)

  @jax.jit
  def step(params, opt_state, images, labels):
    def loss(params):
      logits = network_parts.apply_fn(params, images)
      return losses.cross_entropy_dice_loss(logits, labels).mean()

    grads = jax.grad(loss)(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  arguments = params, optimizer.init(params), images, labels
  compiled = step.lower(*arguments).compile()
  return compiled, lambda: compiled(*arguments)


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


class _TorchUNet:
  """The same U-Net in torch, and a plain training step with AdamW.

  It has 3x3 convolutions, GroupNorm with 8 groups, and ReLU.
  """

  def __init__(self, features, dataset, dtype):
    import torch
    self._torch = torch
    nn = torch.nn

    def conv(n, m):
      return [nn.Conv2d(n, m, 3, padding=1, bias=False)]

    def block(n, m):
      return nn.Sequential(*[
          layer for a in (n, m)
          for layer in (*conv(a, m), nn.GroupNorm(8, m, eps=1e-6), nn.ReLU())])

    class Net(nn.Module):

      def __init__(self):
        super().__init__()
        pairs = list(zip(features[:-1], features[1:], strict=True))
        self.down = nn.ModuleList(
            [block(3, features[0]), *(block(n, m) for n, m in pairs)])
        self.up = nn.ModuleList(
            [nn.Sequential(nn.Upsample(scale_factor=2), *conv(m, n))
             for n, m in pairs])
        self.join = nn.ModuleList([block(2 * n, n) for n, _ in pairs])
        self.head = nn.Conv2d(features[0], 2, 1)

      def forward(self, x):
        skips = []
        for index, layer in enumerate(self.down):
          x = layer(x if not index else nn.functional.max_pool2d(x, 2))
          skips.append(x)
        for index in reversed(range(len(self.up))):
          x = self.join[index](
              torch.cat([skips[index], self.up[index](x)], 1))
        return self.head(x.float())

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    images, labels = _images(dataset)
    self._device = 'cuda' if torch.cuda.is_available() else 'cpu'
    self._dtype = torch.bfloat16 if dtype == 'bfloat16' else None
    self._net = Net().to(self._device, memory_format=torch.channels_last)
    self._optimizer = torch.optim.AdamW(self._net.parameters(), 1e-3)
    self._x = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2).to(
        self._device, memory_format=torch.channels_last)
    self._y = torch.tensor(np.asarray(labels)).long().to(self._device)
    self.num_params = sum(p.numel() for p in self._net.parameters())

  def __call__(self):
    torch = self._torch
    with torch.autocast(
        self._device, self._dtype, enabled=self._dtype is not None):
      logits = self._net(self._x)
    logits = logits.float()
    probs = torch.softmax(logits, 1)[:, 1]
    y = self._y.float()
    dice = (2 * (probs * y).sum((1, 2)) + 1) / (
        probs.sum((1, 2)) + y.sum((1, 2)) + 1)
    loss = torch.nn.functional.cross_entropy(logits, self._y) + 1 - dice.mean()
    self._optimizer.zero_grad(set_to_none=True)
    loss.backward()
    self._optimizer.step()

  def wait(self, unused_result):
    if self._device == 'cuda':
      self._torch.cuda.synchronize()


def _torch_lines(dataset):
  features = tuple(_pieces('unet_full', 'float32')[0].options['features'])
  for dtype in _DTYPES:
    net = _TorchUNet(features, dataset, dtype)
    seconds = _median_s(net, net.wait)
    yield dict(what='plain, torch', network='unet_full', dtype=dtype,
               images_per_s=round(2 * _BATCH_SIZE.value / seconds, 1),
               ms=round(1e3 * seconds, 2), num_params=net.num_params)


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
