#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: the reduction 'weighted-imagewise' of its
# metrics documents a weighted average over the classes, then over the images.
# It divides by the number of classes once more, without a warning: a perfect
# prediction of 3 classes has an IoU of 0.333, of 10 classes 0.1, whatever the
# weights. 'weighted' gives 1. The download is about 3 GB, for torch's wheel.
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
counts = smp.metrics.get_stats(
    labels, labels, mode='multiclass', num_classes=3)
print('segmentation-models-pytorch', smp.__version__, 'perfect prediction')
seen = {}
for reduction in ('micro', 'macro', 'weighted', 'micro-imagewise',
                  'macro-imagewise', 'weighted-imagewise'):
  weights = [1., 2., 5.] if 'weighted' in reduction else None
  seen[reduction] = float(smp.metrics.iou_score(
      *counts, reduction=reduction, class_weights=weights))
  print(f'IoU, {reduction}: {seen[reduction]:.3f}')
wrong = seen.pop('weighted-imagewise')
assert all(abs(value - 1) < 1e-6 for value in seen.values())
assert abs(wrong - 1 / 3) < 1e-6, 'the behaviour has changed'
print('as stated: weighted-imagewise divides by the classes once more')
PY
