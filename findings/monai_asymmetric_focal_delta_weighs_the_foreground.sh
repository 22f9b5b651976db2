#!/usr/bin/env bash
# monai 1.6.1: AsymmetricFocalLoss documents its delta as the weight of the
# background. The background gets 1 - delta and the foreground delta, without a
# warning: of two pixels with probability 0.5, delta=0.9 gives the one of the
# background a loss of 0.1 ln 2 and the one of the lesion 0.9 ln 2. Who raises
# delta against false positives makes them cheaper. The download is about 3 GB,
# since the wheel of torch comes with its GPU libraries.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir 'monai==1.6.1' 'torch==2.14.1' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import math

from monai.losses import unified_focal_loss
import torch

kind = unified_focal_loss.AsymmetricFocalLoss
assert 'delta : weight of the background' in kind.__init__.__doc__, (
    'the documentation has changed')
print('monai', importlib.metadata.version('monai'))
probabilities = torch.full((1, 2, 1, 2), 0.5)  # two pixels, undecided
labels = torch.tensor([[[[0, 1]]]])  # background, lesion
for delta in (0.7, 0.9):
  loss = kind(to_onehot_y=True, delta=delta, gamma=0, reduction='none')(
      probabilities, labels).sum(1).flatten() / math.log(2)
  background, lesion = loss.tolist()
  print(f'delta {delta}: loss / ln 2 of background {background:.2f}, '
        f'of lesion {lesion:.2f}')
  assert abs(background - (1 - delta)) < 1e-5, 'the behaviour has changed'
  assert abs(lesion - delta) < 1e-5, 'the behaviour has changed'
print('as stated: delta is the weight of the foreground')
PY
