#!/usr/bin/env bash
# MONAI 1.6.1: ignore_index, new in its metrics, leaves out the voxels of the class
# in DiceMetric, but in MeanIoU and ConfusionMatrixMetric only the channel of the
# class: what was predicted in its voxels still counts as false positives of other
# classes. So the IoU of a class is no longer Dice / (2 - Dice), and the "f1 score"
# of the same masks is not their Dice: 0.667 and 1. With the voxels all zero in the
# reference and a value that is no class, 255, all three leave them out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

from monai import metrics
import torch

print('monai', importlib.metadata.version('monai'))
labels = torch.zeros(1, 10, 10, dtype=torch.long)
labels[:, 2:8, 2:5], labels[:, 2:8, 5:8] = 1, 2  # Class 2 is to be ignored.
predicted = torch.zeros_like(labels)
predicted[:, 2:8, 2:8] = 1
one_hot = lambda x: torch.nn.functional.one_hot(x, 3).movedim(-1, 1).float()
reference = one_hot(labels)
emptied = reference * (labels != 2)[:, None]
emptied[:, 2] = 0
found = {}
for index, target in ((2, reference), (255, emptied)):
  options = {'include_background': True, 'reduction': 'none', 'ignore_index': index}
  dice = metrics.DiceMetric(**options)(one_hot(predicted), target)[0, 1].item()
  iou = metrics.MeanIoU(**options)(one_hot(predicted), target)[0, 1].item()
  matrix = metrics.ConfusionMatrixMetric(metric_name='f1 score', **options)
  matrix(one_hot(predicted), target)
  f1 = matrix.aggregate()[0][0, 1].item()
  found[index] = tuple(round(x, 3) for x in (dice, iou, f1))
  print(f'ignore_index={index}, class 1: Dice {dice:.3f}, IoU {iou:.3f}, F1 {f1:.3f}')
assert found == {2: (1, 0.5, 0.667), 255: (1, 1, 1)}, 'the behaviour has changed'
print('as stated: IoU and F1 count what was predicted in ignored voxels')
PY
