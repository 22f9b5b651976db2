#!/usr/bin/env bash
# MONAI 1.6.1: MaskedDiceLoss with to_onehot_y=True, as labels of several classes
# need it, sets the labels outside of the mask to 0 before it encodes them, so that
# all of these voxels are background: the denominator of the Dice of class 0 counts
# them, although the mask leaves them out. With the mask on the left half, the loss
# of a perfect prediction is not 0, and it depends on how many voxels are masked.
# With labels that are already one-hot, it is 0, and the loss of random logits is
# that of DiceLoss on the left half alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

import torch
from monai.losses import DiceLoss, MaskedDiceLoss

print('monai', importlib.metadata.version('monai'))
generator = torch.Generator().manual_seed(0)
labels = torch.randint(0, 3, (1, 1, 8, 8), generator=generator)
one_hot = torch.nn.functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
options = {'softmax': True, 'smooth_nr': 0.0, 'smooth_dr': 0.0}
encodes = MaskedDiceLoss(to_onehot_y=True, **options)
encoded = MaskedDiceLoss(**options)


def left(width):
  mask = torch.zeros(1, 1, 8, 8)
  mask[..., :width] = 1
  return mask


perfect = 200 * one_hot
seen = []
for width in (8, 6, 4):
  first, second = (float(loss(perfect, target, left(width))) for loss, target in (
      (encodes, labels), (encoded, one_hot)))
  seen += [first, second]
  print(f'perfect prediction, {width} of 8 columns in the mask: labels {first:.4f}, '
        f'one-hot labels {second:.4f}')
assert seen[0] == 0 and seen[1] == seen[3] == seen[5] == 0, 'the behaviour has changed'
assert 0.05 < seen[2] < seen[4], 'the behaviour has changed'
logits = torch.randn(1, 3, 8, 8, generator=generator)
part = float(DiceLoss(to_onehot_y=True, **options)(logits[..., :4], labels[..., :4]))
first = float(encodes(logits, labels, left(4)))
second = float(encoded(logits, one_hot, left(4)))
print(f'random logits: the left half alone {part:.4f}, masked labels {first:.4f}, '
      f'masked one-hot labels {second:.4f}')
assert abs(second - part) < 1e-5 and first - part > 0.02, 'the behaviour has changed'
print('as stated: masked voxels are background')
PY
