#!/usr/bin/env bash
# MONAI 1.6.1: Resize with mode 'nearest' takes the first voxel of each block
# instead of the middle one, and the affine of the result, which is that of the
# linear mode, does not know of it. At a third of the size a structure moves by
# 1 voxel of the input along each axis, in the coordinates of its own affine, on
# the average over three neighbouring places. The image, resized to the same
# grid by the linear mode, stays where it was, so that Resized with
# mode=('bilinear', 'nearest') pulls labels and image apart. With the mode
# 'nearest-exact' the labels stay in place.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'monai==1.6.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import monai
from monai import data
from monai import transforms
import numpy as np
import torch

print('monai', monai.__version__)


def centre(seen):
  weight = np.asarray(seen[0], np.float64)
  index = np.stack(np.nonzero(weight), 1)
  place = (index * weight[tuple(index.T)][:, None]).sum(0) / weight.sum()
  affine = np.asarray(seen.affine)
  return (affine @ [*place, 0, 1])[:2]


for mode in ('nearest-exact', 'nearest'):
  step = transforms.Resized(
      ('image', 'label'), (16, 16), mode=('bilinear', mode))
  moves = {'image': [], 'label': []}
  for start in (15, 16, 17):
    volume = torch.zeros(1, 48, 48)
    volume[0, start:start + 15, start:start + 15] = 1
    pair = {key: data.MetaTensor(volume.clone(), affine=torch.eye(4))
            for key in moves}
    seen = step(pair)
    assert np.allclose(seen['image'].affine, seen['label'].affine)
    for key in moves:
      moves[key].append(centre(seen[key]) - centre(pair[key]))
  means = {key: np.mean(moves[key], 0).round(3).tolist() for key in moves}
  print(f'{mode}: the image moves by {means["image"]}, the label by '
        f'{means["label"]} voxels')
  assert np.allclose(means['image'], 0, atol=0.01)
  assert np.allclose(means['label'], float(mode == 'nearest'), atol=0.01), (
      'the behaviour has changed')
print('as stated: labels move against the image')
PY
