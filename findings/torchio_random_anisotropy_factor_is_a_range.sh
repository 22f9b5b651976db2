#!/usr/bin/env bash
# TorchIO 1.2.1: RandomAnisotropy(downsampling=4), "downsampling factor m > 1; if a
# tuple (a, b) is provided then m is drawn uniformly", does not make slices coarser
# by 4: a single number is the end of a range from 1, so that of 200 volumes about a
# third is made coarser by less than 2. With (4, 4) all are, by 4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'torchio==1.2.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

import numpy as np
import torch
import torchio

print('torchio', importlib.metadata.version('torchio'))


def factors(downsampling):
  torch.manual_seed(0)
  subject = torchio.Subject(image=torchio.ScalarImage(tensor=torch.rand(1, 4, 24, 4)))
  transform = torchio.RandomAnisotropy(axes=1, downsampling=downsampling)
  return np.array([transform.get_params((1,), transform.downsampling_range)[1]
                   for _ in range(200)]), transform(subject)


single, _ = factors(4)
pair, _ = factors((4, 4))
print(f'downsampling=4: factors from {single.min():.2f} to {single.max():.2f}, '
      f'{(single < 2).mean():.2f} of them below 2')
print(f'downsampling=(4, 4): factors from {pair.min():.2f} to {pair.max():.2f}')
assert single.min() < 1.1 and 0.2 < (single < 2).mean() < 0.45, 'the behaviour has changed'
assert (pair == 4).all(), 'the behaviour has changed'
print('as stated: one number is a range from 1')
PY
