#!/usr/bin/env bash
# torchmetrics 1.9.0: hausdorff_distance and HausdorffDistance put the distance
# of each pixel in a wrong place if the image is not square. A mask and the same
# mask 2 pixels further down have the Hausdorff distance 2 in an image of
# 10 x 10. In one of 10 x 20, with 10 empty columns beside them, it is 12. In
# 20 x 10 the same masks raise an IndexError. The SciPy engine of the distances
# below gets every shape right, but the metric has no option for it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'torchmetrics==1.9.0' 'torch==2.13.0' \
  'numpy==2.4.6' 'scipy==1.17.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from scipy import ndimage
import torch
from torchmetrics import segmentation
from torchmetrics.functional.segmentation import utils

print('torchmetrics', importlib.metadata.version('torchmetrics'))


def evaluate(height, width):
  truth, found = torch.zeros((2, 1, height, width), dtype=torch.int64)
  truth[0, 1:7, 2:8] = 1
  found[0, 3:9, 2:8] = 1
  metric = segmentation.HausdorffDistance(
      2, include_background=False, input_format='index')
  try:
    seen = float(metric(found, truth))
  except IndexError as error:
    seen = type(error).__name__
  edges = [mask & ~ndimage.binary_erosion(mask)
           for mask in (truth[0].numpy() > 0, found[0].numpy() > 0)]
  far = [ndimage.distance_transform_edt(~edge) for edge in edges]
  right = float(max(far[0][edges[1]].max(), far[1][edges[0]].max()))
  print(f'{height} x {width}: {seen}, by hand {right}')
  assert right == 2
  scipy_map = utils.distance_transform(truth[0], engine='scipy')
  assert np.allclose(
      scipy_map, ndimage.distance_transform_edt(truth[0].numpy()))
  return seen


assert evaluate(10, 10) == 2
assert evaluate(10, 20) == 12, 'the behaviour has changed'
assert evaluate(20, 10) == 'IndexError', 'the behaviour has changed'
print('as stated: only square images are right')
PY
