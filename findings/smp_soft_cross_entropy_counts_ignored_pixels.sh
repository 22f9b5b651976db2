#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: SoftCrossEntropyLoss is documented as a
# drop-in replacement for torch's CrossEntropyLoss. Its mean divides by all
# pixels, those of ignore_index too; torch divides by the pixels that count. Of
# scribbles on a sixteenth of an image, the loss and its gradients are a
# sixteenth of torch's, without a warning, and images weigh by their annotated
# share. The download is about 3 GB, for torch's wheel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir 'segmentation-models-pytorch==0.6.0' 'torch==2.14.1' 'torchvision==0.29.1' 'timm==1.0.31' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import segmentation_models_pytorch as smp
import torch

generator = torch.Generator().manual_seed(0)
logits = torch.randn(1, 3, 8, 8, generator=generator)
labels = torch.randint(3, (1, 8, 8), generator=generator)
scribbles = torch.full_like(labels, 255)
scribbles[:, 0, :4] = labels[:, 0, :4]
print('segmentation-models-pytorch', smp.__version__)
ratios = {}
for name, target in (('all 64 pixels', labels), ('4 of 64', scribbles)):
  for smoothing in (0., 0.1):
    of_torch = torch.nn.CrossEntropyLoss(
        ignore_index=255, label_smoothing=smoothing)(logits, target)
    of_smp = smp.losses.SoftCrossEntropyLoss(
        ignore_index=255, smooth_factor=smoothing)(logits, target)
    ratios[name, smoothing] = float(of_smp / of_torch)
    print(f'{name}, smoothing {smoothing}: torch {of_torch:.4f}, '
          f'SoftCrossEntropyLoss {of_smp:.4f}')
for (name, _), ratio in ratios.items():
  right = 1 if name == 'all 64 pixels' else 1 / 16
  assert abs(ratio - right) < 1e-4, 'the behaviour has changed'
print('as stated: ignored pixels count in the mean')
PY
