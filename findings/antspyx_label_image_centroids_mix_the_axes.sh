#!/usr/bin/env bash
# antspyx 0.6.3: label_image_centroids returns the centres of labels with their
# axes exchanged. In a volume of 12 x 12 x 12 voxels a label at (7, 9, 5) has
# its centre at (5, 9, 7). If the sides are not equal, it is no place of the
# label with any order of the axes: in 10 x 12 x 12 it is (1, 4, 9). With
# physical=True the answer is the same for a spacing of 1, and label_stats of
# the same library gets all of them right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-compile 'antspyx==0.6.3' 'numpy==2.2.6' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import ants
import numpy as np

warnings.simplefilter('error')
print('antspyx', importlib.metadata.version('antspyx'))
for shape, expected in (
    ((12, 12, 12), [5, 9, 7]), ((10, 12, 12), [1, 4, 9])):
  labels = np.zeros(shape, np.float32)
  labels[7, 9, 5] = 1
  image = ants.from_numpy(labels)
  for physical in (False, True):
    centre = ants.label_image_centroids(
        image, physical=physical)['vertices'].ravel().tolist()
    print(f'{shape}, physical={physical}: label at [7, 9, 5], '
          f'label_image_centroids {centre}')
    assert centre == expected, 'the behaviour has changed'
  table = ants.label_stats(image, image)
  right = table[table.LabelValue == 1][['x', 'y', 'z']].values.ravel().tolist()
  print(f'{shape}: label_stats {right}')
  assert right == [7, 9, 5]
print('as stated: the axes of the centres are mixed')
PY
