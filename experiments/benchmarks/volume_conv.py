r"""Compares 3-D convolutions by slices with those of XLA, on a CPU.

taskset -c 0 python -m experiments.benchmarks.volume_conv

Each case of `--cases` is C>F@DxHxW: a 3 x 3 x 3 convolution of two volumes of
D x H x W voxels from C to F channels. `--networks` lists U-Nets as FEATURES@
DxHxW. The two ways take turns, so that other work on the machine slows both.
Times are the least processor time of several calls, forward, and with both
gradients.
"""

import time
from unittest import mock

from absl import flags
from hybridseg import models
from hybridseg.models import volume_conv
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary

_CASES = flags.DEFINE_list(
    'cases', ['1>8@24x32x24', '8>8@24x32x24', '16>8@24x32x24',
              '16>16@12x16x12', '32>16@12x16x12', '32>32@6x8x6'],
    'C>F@DxHxW, in this order.')
_NETWORKS = flags.DEFINE_list(
    'networks', ['8-16-32@24x32x24', '16-32-64-128@48x48x48'],
    'FEATURES@DxHxW, in this order.')
_ROUNDS = flags.DEFINE_integer('rounds', 5, 'Timed rounds.', lower_bound=1)

_BATCH = 2
_WAYS = {'XLA': volume_conv._by_volumes, 'slices': volume_conv._by_slices}


def _sizes(text):
  return tuple(map(int, text.split('x')))


def _layer(case):
  """Returns a function to time, which takes a way, and its arguments."""
  channels, size = case.split('@')
  channels, features = map(int, channels.split('>'))
  rng = np.random.default_rng(0)
  x = rng.normal(size=(_BATCH, *_sizes(size), channels)).astype(np.float32)
  kernel = rng.normal(size=(3, 3, 3, channels, features)).astype(np.float32)
  return lambda way: _WAYS[way], (x, kernel)


def _network(case):
  """Returns the same as `_layer` for a U-Net."""
  features, size = case.split('@')
  net = models.build('unet', num_classes=3, options={
      'features': tuple(map(int, features.split('-')))})
  x = np.random.default_rng(0).normal(
      size=(_BATCH, *_sizes(size), 1)).astype(np.float32)
  params = net.init(jax.random.key(0), x[:1])

  def make(way):
    def apply(x, params):
      with mock.patch.object(volume_conv, 'volume_conv', _WAYS[way]):
        return net.apply(params, x)
    return apply

  return make, (x, params)


def _measure(make, args):
  """Returns, for each way, its times in ms, its memory and its compile time."""
  found = {}
  for way in _WAYS:
    start = time.process_time()
    apply = make(way)
    loss = lambda x, params, apply=apply: jnp.mean(apply(x, params) ** 2)
    compiled = [jax.jit(fn).lower(*args).compile()
                for fn in (apply, jax.grad(loss, (0, 1)))]
    found[way] = (
        compiled, compiled[1].memory_analysis().temp_size_in_bytes / 2**20,
        time.process_time() - start)
  outputs = [found[way][0][0](*args) for way in _WAYS]
  np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-4)
  times = {way: [[], []] for way in _WAYS}
  for _ in range(_ROUNDS.value):
    for way, (compiled, *_) in found.items():
      for spent, fn in zip(times[way], compiled, strict=True):
        start = time.process_time()
        jax.block_until_ready(fn(*args))
        spent.append(1e3 * (time.process_time() - start))
  return {way: (*map(min, times[way]), *found[way][1:]) for way in _WAYS}


def main():
  print(f'JAX {jax.__version__}\n| case | XLA, ms: forward, gradients | '
        'slices, ms | XLA / slices | temporary MiB of the gradients | compiling'
        ', s |\n|---|---|---|---|---|---|')
  for cases, make in ((_CASES.value, _layer), (_NETWORKS.value, _network)):
    for case in cases:
      xla, slices = _measure(*make(case)).values()
      print(f'| {case} | {xla[0]:.1f}, {xla[1]:.1f} | {slices[0]:.1f}, '
            f'{slices[1]:.1f} | {xla[0] / slices[0]:.1f}, '
            f'{xla[1] / slices[1]:.1f} | {xla[2]:.0f}, {slices[2]:.0f} | '
            f'{xla[3]:.1f}, {slices[3]:.1f} |', flush=True)


if __name__ == '__main__':
  binary.run(main)
