r"""Compares the speed of training steps with that of the same steps in torch.

python -m experiments.benchmarks.compare_torch --json=compare.json

It needs torch (`pip install torch`; on a CPU, its CPU build is enough) but no
data. Each case of `--cases` is NETWORK:PIXELS:BATCH, where NETWORK is a network
of `common.NETWORKS` that `torch_twins` implements in torch as well, or
`unet_volumes`, a 3-D U-Net, whose PIXELS are those along each of three axes.
This twin gets the same parameters. The program ends with an error if the logits
or gradients of the two networks differ. Otherwise, their steps take turns in
one process, so that other work on the machine slows both. Compare the ratios,
not the times.

Torch's threads wait for each other at every layer, so on a busy machine they
lose far more time than JAX's threads. On such a machine, compare on one core,
`taskset -c 0 python -m ...`, and look at the ratio of processor time.
"""

import importlib.util
import json
import os
import time
from typing import Any, NamedTuple

from absl import flags
from data_prep.shared import whole_file
from hybridseg import models
import jax
import numpy as np

from experiments import binary
from experiments.benchmarks import plain_step
from experiments.configs import common

_CASES = flags.DEFINE_list(
    'cases', ['unet_small:64:16', 'unet_small:96:16', 'unet_full:96:4',
              'effnet_lite0:128:16', 'effnet_lite0_frozen:128:16',
              'unet_volumes:32:2'],
    'NETWORK:PIXELS:BATCH, in this order.')
_ROUNDS = flags.DEFINE_integer('rounds', 7, 'Timed rounds.', lower_bound=1)
_JSON = flags.DEFINE_string('json', None, 'File of the results, if wanted.')

_TWINS = {
    name: network for name, network in common.NETWORKS.items()
    if network['name'] in ('unet', 'efficientnet_unet')}
# The levels of the 3-D U-Net that phantom3d's plan has.
_VOLUMES = 'unet_volumes'
_TWINS[_VOLUMES] = {
    'name': 'unet', 'options': {'features': (16, 32, 64, 128)}}
_TOLERANCES = {'logits': 1e-4, 'gradients': 1e-3}
_HEADER = (
    '| network | pixels | batch | logits differ by | gradients differ by '
    '| ours, ms | torch, ms | ours / torch | of single rounds '
    '| of processor time |\n|---|---|---|---|---|---|---|---|---|---|')


class Case(NamedTuple):
  network: str
  pixels: int
  batch: int


def parse(text: str) -> Case:
  """Parses a case that is written as NETWORK:PIXELS:BATCH.

  Raises:
    binary.UserError: if the text has another form, or if the network has no
      twin in torch.
  """
  network, *numbers = text.split(':')
  if network not in _TWINS or len(numbers) != 2 or not all(
      n.isdecimal() and int(n) for n in numbers):
    raise binary.UserError(
        f'--cases: {text!r:.40} is not NETWORK:PIXELS:BATCH with a network of '
        f'{", ".join(_TWINS)}.')
  return Case(network, *map(int, numbers))


def build(case: Case) -> tuple[Any, Any, np.ndarray, np.ndarray]:
  """Builds a network of this project with random parameters, and pictures.

  Returns:
    The function (params, images) -> logits; the parameters; images of waves,
    float32 [B, H, W, 3] or [B, D, H, W, 1] in [0, 1]; and label maps, int32 of
    the shape of the images without the channels.
  """
  network = _TWINS[case.network]
  model = models.build(
      network['name'], num_classes=2, options=network['options'])
  # With images of noise, the gradients of different pixels would cancel. If
  # rounding then switched a single ReLU, the small sum would change greatly.
  n, k, i, j, c = np.ogrid[
      :case.batch, :case.pixels, :case.pixels, :case.pixels, :3]
  if case.network == _VOLUMES:
    c = c[..., :1]
  else:
    n, k, i, j, c = n[:, 0], 0, i[:, 0], j[:, 0], c[:, 0]
  waves = np.sin(i / (5 + n) + c + k / 4) * np.cos(j / (7 + 2 * n)) + 1
  images = (waves / 2).astype(np.float32)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(model.init, jax.random.key(0), images[:1])['params']

  def draw(path, leaf):
    # The activations must not fade from layer to layer. Otherwise the gradients
    # of deep layers would consist of rounding errors.
    if leaf.ndim == 1:
      mean = path[-1].key == 'scale'
      return rng.normal(mean, 0.1, leaf.shape).astype(np.float32)
    fan_in = np.prod(leaf.shape[:2] if leaf.ndim == 3 else leaf.shape[:-1])
    return rng.normal(0, (2 / fan_in) ** 0.5, leaf.shape).astype(np.float32)

  return (lambda params, images: model.apply({'params': params}, images),
          jax.tree.map_with_path(draw, shapes), images,
          (images.mean(-1) > 0.6).astype(np.int32))


def row(result: dict[str, Any]) -> str:
  """Returns a row of the table in Markdown."""
  ratios = result['ratios']
  return (
      f'| {result["network"]} | {result["pixels"]} | {result["batch"]} '
      f'| {result["logits"]:.0e} | {result["gradients"]:.0e} '
      f'| {result["ms"]:.1f} | {result["torch_ms"]:.1f} '
      f'| **{result["ratio"]:.2f}** | {min(ratios):.2f} to {max(ratios):.2f} '
      f'| {result["processor_ratio"]:.2f} |')


def differences(
    grads: dict[str, np.ndarray], logits: np.ndarray,
    torch_grads: dict[str, np.ndarray], torch_logits: np.ndarray,
) -> dict[str, float]:
  """Compares a network's gradients and logits with those of its twin in torch.

  Args:
    grads: gradient of each parameter, by name.
    logits: logits of the batch.
    torch_grads: gradients of the twin.
    torch_logits: logits of the twin.

  Returns:
    `logits`, the largest difference between two logits, divided by the largest
    logit if that exceeds 1; and `gradients`, the norm of the difference between
    the gradients, divided by the norm of torch's gradients. The norm is taken
    over all parameters, since a single one may differ more if rounding switches
    a ReLU.

  Raises:
    binary.UserError: if a difference is above its tolerance.
  """
  def norm(arrays):
    return float(np.sqrt(sum(np.square(x, dtype=np.float64).sum()
                             for x in arrays)))

  found = dict(
      logits=float(np.abs(logits - torch_logits).max()
                   / max(1, np.abs(torch_logits).max())),
      gradients=norm(grads[name] - g for name, g in torch_grads.items())
      / norm(torch_grads.values()))
  for what, tolerance in _TOLERANCES.items():
    if not found[what] <= tolerance:  # Also for nan.
      raise binary.UserError(
          f'The {what} differ by {found[what]:.1e} from torch\'s, more than '
          f'{tolerance:.0e}, so the times of the two may not be compared.')
  return found


def _measure(case: Case, torch_twins) -> dict[str, Any]:
  """Compares a network with its twin, then times both steps in turn."""
  apply_fn, params, images, labels = build(case)
  options = _TWINS[case.network]['options']
  num_axes = images.ndim - 2
  if 'features' in options:
    net = torch_twins.UNet(
        options['features'], channels=images.shape[-1], num_axes=num_axes)
  else:
    net = torch_twins.EfficientNetUNet(
        options['decoder_features'], options['frozen_until'])
  torch_twins.load(net, plain_step.as_torch(params, num_axes=num_axes))
  torch_step = torch_twins.PlainStep(net, images, labels)
  torch_twins.use_tf32(False)
  with jax.default_matmul_precision('highest'):
    grads, logits = jax.jit(plain_step.gradient_fn(apply_fn))(
        params, images, labels)
  result = case._asdict() | differences(
      plain_step.as_torch(grads, num_axes=num_axes), np.asarray(logits),
      *torch_step.gradients())
  torch_twins.use_tf32(True)
  _, step = plain_step.build(
      apply_fn, params, images, labels,
      frozen_until=options.get('frozen_until', 0))
  turns = [(step, jax.block_until_ready), (torch_step, torch_twins.wait)]
  times_s = np.zeros((_ROUNDS.value, 2, 2))  # [round, step, clock].
  for index in range(-2, _ROUNDS.value):  # The first two rounds do not count.
    for which in (0, 1) if index % 2 else (1, 0):
      call, wait = turns[which]
      start = _clocks()
      wait(call())
      times_s[index, which] = _clocks() - start
  ratios, processor_ratios = (times_s[:, 0] / times_s[:, 1]).T
  ms, torch_ms = 1e3 * np.median(times_s[..., 0], 0)
  return result | dict(
      ms=float(ms), torch_ms=float(torch_ms), ratio=float(np.median(ratios)),
      ratios=ratios.round(4).tolist(),
      processor_ratio=float(np.median(processor_ratios)))


def _clocks():
  return np.array([time.perf_counter(), time.process_time()])


def main():
  cases = [parse(text) for text in _CASES.value]
  if importlib.util.find_spec('torch') is None:
    raise binary.UserError(
        'There is no torch to compare with: pip install torch. On a CPU, its '
        'CPU build is enough.')
  # By default, JAX reserves most of a GPU's memory, but torch needs some, too.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  import torch

  from experiments.benchmarks import torch_twins
  if (jax.default_backend() == 'cpu') != (torch_twins.DEVICE == 'cpu'):
    raise binary.UserError(
        f'JAX computes on {jax.default_backend()}, torch on '
        f'{torch_twins.DEVICE}: set JAX_PLATFORMS=cpu and '
        'CUDA_VISIBLE_DEVICES= to compare them on the CPU.')
  threads = len(os.sched_getaffinity(0))
  torch.set_num_threads(threads)
  results = dict(
      device=jax.devices()[0].device_kind, threads=threads,
      jax=jax.__version__, torch=torch.__version__, rounds=_ROUNDS.value,
      cases=[])
  print(', '.join(f'{key} {value}' for key, value in results.items()
                  if key != 'cases'), f'\n\n{_HEADER}', sep='', flush=True)
  for case in cases:
    results['cases'].append(_measure(case, torch_twins))
    print(row(results['cases'][-1]), flush=True)
  if _JSON.value:
    with whole_file.open_whole(_JSON.value) as file:
      json.dump(results, file, indent=2)


if __name__ == '__main__':
  binary.run(main)
