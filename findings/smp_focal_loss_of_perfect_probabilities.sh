#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: FocalLoss('multiclass', from_logits=False)
# takes probabilities, as DiceLoss does. It takes their logarithm for the logit
# of a sigmoid, so that no probability counts as more than a half: the loss of a
# perfect prediction of 3 classes is 0.0578 and not 0, without a warning. The
# binary mode and from_logits=True give 0. The download is about 3 GB, since the
# wheel of torch comes with its GPU libraries.
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
losses = smp.losses
seen = {
    'Focal, multiclass': losses.FocalLoss('multiclass', from_logits=False)(
        perfect, labels),
    'Dice, multiclass': losses.DiceLoss('multiclass', from_logits=False)(
        perfect, labels),
    'Focal, binary': losses.FocalLoss('binary', from_logits=False)(
        perfect[:, 1], (labels == 1).long()),
    'Focal, multiclass, of logits': losses.FocalLoss('multiclass')(
        40 * perfect - 20, labels)}
print('segmentation-models-pytorch', smp.__version__, 'perfect prediction')
for name, loss in seen.items():
  print(f'{name}: {loss:.4f}')
wrong = seen.pop('Focal, multiclass')
assert all(abs(value) < 1e-6 for value in seen.values())
# A third of the pairs of pixel and class are right at 'half': ln(2) / 4 each.
assert abs(wrong - torch.log(torch.tensor(2.)) / 12) < 1e-4, (
    'the behaviour has changed')
print('as stated: the focal loss of perfect probabilities is not 0')
PY
