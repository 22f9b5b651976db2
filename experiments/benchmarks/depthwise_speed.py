r"""Compares the speed of two implementations of the depthwise convolution.

python -m experiments.benchmarks.depthwise_speed --batch_size=32

One implementation sums products of shifted images, the other is XLA's grouped
convolution. They are timed for every depthwise layer of EfficientNet-Lite0: the
convolution itself, and its gradients with respect to images and kernel.

First, their results are compared. Then the two take turns in --rounds rounds of
several calls each; a time is the median over the rounds. Prints a Markdown
table. With --output, the total times in milliseconds are also written as JSON:
a dictionary for each of the three computations, with a key for each
implementation.
"""

import concurrent.futures
import json
import time

from absl import flags
from hybridseg.models import depthwise
from hybridseg.models import efficientnet_lite
import jax
import jax.numpy as jnp
import numpy as np

from experiments import binary

_BATCH_SIZE = flags.DEFINE_integer('batch_size', 32, 'Images.')
_IMAGE_SIZE = flags.DEFINE_integer('image_size', 128, 'Pixels.')
_DTYPE = flags.DEFINE_enum('dtype', 'float32', ('float32', 'bfloat16'), 'All.')
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Turns of each form.')
_CALLS = flags.DEFINE_integer('calls', 10, 'In a turn.')
_OUTPUT = flags.DEFINE_string('output', None, 'JSON to write.')

MAPS = {
    'conv': (depthwise._grouped_conv, depthwise._shifted_conv),
    'input_grad': (
        depthwise._grouped_input_grad, depthwise._shifted_input_grad),
    'kernel_grad': (
        depthwise._grouped_kernel_grad, depthwise._shifted_kernel_grad),
}


def layers(image_size: int) -> dict[tuple[int, int, int, int], int]:
  """Counts the depthwise layers of EfficientNet-Lite0 by their shape.

  Args:
    image_size: height and width of the images, in pixels.

  Returns:
    A dictionary from shapes (size, kernel width, stride, channels) to the
    number of layers of that shape.
  """
  found = {}
  size, channels = -(-image_size // 2), 32
  for width, stride, expansion, features in efficientnet_lite._BLOCKS:
    layer = size, width, stride, channels * expansion
    found[layer] = found.get(layer, 0) + 1
    size, channels = -(-size // stride), features
  return found


def _programs(layer):
  """Compiles both implementations of a layer and of its gradients.

  Yields the name of the computation, the name of the implementation, the
  compiled program and its arguments.
  """
  size, width, stride, channels = layer
  dtype = jnp.dtype(_DTYPE.value)
  rng = np.random.default_rng(0)
  normal = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
  out = -(-size // stride)
  x = normal(_BATCH_SIZE.value, size, size, channels)
  g = normal(_BATCH_SIZE.value, out, out, channels)
  kernel = normal(width, width, channels)
  arguments = {'conv': (x, kernel), 'input_grad': (g, kernel),
               'kernel_grad': (x, g)}
  options = {'conv': {}, 'input_grad': {'size': (size, size)},
             'kernel_grad': {'width': width}}
  for name, forms in MAPS.items():
    for form, fn in zip(('grouped', 'shifted'), forms, strict=True):
      call = jax.jit(lambda a, b, fn=fn, name=name: fn(
          a, b, stride=stride, **options[name]))
      yield (name, form, call.lower(*arguments[name]).compile(),
             arguments[name])


def _time_ms(call, arguments):
  start = time.perf_counter()
  for _ in range(_CALLS.value):
    result = call(*arguments)
  jax.block_until_ready(result)
  return 1e3 * (time.perf_counter() - start) / _CALLS.value


def _compare(programs):
  """Compares the results of the two implementations for each computation.

  Returns:
    A dictionary from the name of each computation to the largest relative
    difference.
  """
  found = {}
  for name, _, call, arguments in programs:
    found.setdefault(name, []).append(
        np.asarray(call(*arguments), np.float64))
  return max(np.linalg.norm(a - b) / np.linalg.norm(a)
             for a, b in found.values())


def main():
  wanted = layers(_IMAGE_SIZE.value)
  with concurrent.futures.ThreadPoolExecutor() as pool:
    compiled = dict(zip(
        wanted, pool.map(lambda x: list(_programs(x)), wanted), strict=True))
  print(f'{jax.devices()[0].device_kind}, jax {jax.__version__}, '
        f'{_BATCH_SIZE.value} images of {_IMAGE_SIZE.value} px, '
        f'{_DTYPE.value}; ms, grouped / shifted\n')
  print('| size, width, stride, channels | layers | difference | '
        f'{" | ".join(MAPS)} |\n|---|---|---|' + '---|' * len(MAPS))
  totals = {name: {'grouped': 0.0, 'shifted': 0.0} for name in MAPS}
  for layer, number in wanted.items():
    programs = compiled[layer]
    difference = _compare(programs)
    times = {}
    for _ in range(_ROUNDS.value):
      for name, form, *program in programs:
        times.setdefault((name, form), []).append(_time_ms(*program))
    cells = []
    for name, total in totals.items():
      pair = {f: float(np.median(times[name, f])) for f in total}
      cells.append(' / '.join(f'{ms:.3f}' for ms in pair.values()))
      for form, ms in pair.items():
        total[form] += number * ms
    print(f'| {layer} | {number} | {difference:.0e} | {" | ".join(cells)} |',
          flush=True)
  print('| all | | | ' + ' | '.join(
      ' / '.join(f'{ms:.2f}' for ms in total.values())
      for total in totals.values()) + ' |')
  if _OUTPUT.value:
    with open(_OUTPUT.value, 'w', encoding='utf-8') as file:
      json.dump(totals, file)


if __name__ == '__main__':
  binary.run(main)
