#!/usr/bin/env bash
# MONAI 1.6.1: FocalLoss with ignore_index divides the sum over voxels and classes by
# the number of voxels alone, without it by that of voxels and classes. So the loss of
# K classes becomes K times as large as soon as the option is given, even if no voxel
# has the ignored value, and the learning rate that fitted no longer does. The sums,
# reduction='sum', and DiceLoss with the same option are as without it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

from monai import losses
import torch

print('monai', importlib.metadata.version('monai'))
generator = torch.Generator().manual_seed(0)
ratios = {}
for classes in (2, 3, 5):
  logits = torch.randn(2, classes, 8, 8, generator=generator)
  labels = torch.randint(0, classes, (2, 1, 8, 8), generator=generator)
  options = {'to_onehot_y': True, 'use_softmax': True}
  without = losses.FocalLoss(**options)(logits, labels).item()
  given = losses.FocalLoss(ignore_index=255, **options)(logits, labels).item()
  ratios[classes] = round(given / without, 3)
  dice = [losses.DiceLoss(to_onehot_y=True, softmax=True, **more)(logits, labels).item()
          for more in ({}, {'ignore_index': 255})]
  assert abs(dice[0] - dice[1]) < 1e-6
  print(f'{classes} classes, no voxel of 255: focal loss {without:.4f}, with '
        f'ignore_index=255 {given:.4f}, ratio {ratios[classes]}')
assert ratios == {2: 2, 3: 3, 5: 5}, 'the behaviour has changed'
print('as stated: the loss is larger by the number of classes')
PY
