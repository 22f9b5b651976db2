#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: LovaszLoss takes from_logits as the other
# losses do and never looks at it. With from_logits=False, probabilities pass
# through a second softmax, without an error: the loss of a perfect prediction
# is 0.424, the same as with from_logits=True. DiceLoss and JaccardLoss give 0.
# The download is about 3 GB, for torch's wheel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir 'segmentation-models-pytorch==0.6.0' 'torch==2.14.1' 'torchvision==0.29.1' 'timm==1.0.31' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import segmentation_models_pytorch as smp
import torch

labels = torch.tensor([[[0, 1, 2, 0], [1, 1, 2, 2]]])
perfect = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
print('segmentation-models-pytorch', smp.__version__, 'perfect prediction')
seen = {}
for name in ('DiceLoss', 'JaccardLoss', 'LovaszLoss'):
  kind = getattr(smp.losses, name)
  seen[name] = float(kind('multiclass', from_logits=False)(perfect, labels))
  print(f'{name}, from_logits=False: {seen[name]:.4f}')
as_logits = float(smp.losses.LovaszLoss('multiclass')(perfect, labels))
print(f'LovaszLoss, from_logits=True: {as_logits:.4f}')
assert abs(seen['DiceLoss']) < 1e-6 and abs(seen['JaccardLoss']) < 1e-6
# The second softmax gives 0.576 = e / (e + 2) to the right class.
assert abs(seen['LovaszLoss'] - 0.4239) < 1e-3, 'the behaviour has changed'
assert seen['LovaszLoss'] == as_logits, 'the behaviour has changed'
print('as stated: LovaszLoss ignores from_logits')
PY
