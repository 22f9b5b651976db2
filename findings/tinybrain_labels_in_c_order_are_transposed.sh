#!/usr/bin/env bash
# tinybrain 1.7.0: downsample_segmentation by (2, 2, 2) takes an array in C
# order, as NumPy makes it, for one in Fortran order, and returns the labels
# with the axes exchanged, but in the shape that is asked for. Of labels of
# 8 x 8 x 8 voxels, each block of 2 x 2 x 2 of one label, 46 of 64 blocks get
# the label of another block: the answer is the transposed one. Of 8 x 6 x 4
# voxels, where blocks of separate places are mixed, 23 of 24 are wrong. The same
# array in Fortran order comes back right, and so do averages of both orders.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'tinybrain==1.7.0' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import tinybrain

print('tinybrain', importlib.metadata.version('tinybrain'))
wrong = {}
for shape in ((4, 4, 4), (4, 3, 2)):
  blocks = np.random.default_rng(0).integers(1, 100, shape).astype('uint8')
  labels = blocks.repeat(2, 0).repeat(2, 1).repeat(2, 2)
  for order in 'CF':
    seen, = tinybrain.downsample_segmentation(
        np.array(labels, order=order), (2, 2, 2))
    assert seen.shape == blocks.shape
    wrong[shape, order] = int((seen != blocks).sum())
    print(f'labels {labels.shape}, order {order}: {wrong[shape, order]} of '
          f'{blocks.size} blocks with a wrong label')
    if (shape, order) == ((4, 4, 4), 'C'):
      assert np.array_equal(seen, blocks.T), 'the behaviour has changed'
  average, = tinybrain.downsample_with_averaging(labels, (2, 2, 2))
  assert np.array_equal(average, blocks)
assert wrong[(4, 4, 4), 'F'] == wrong[(4, 3, 2), 'F'] == 0
assert wrong[(4, 4, 4), 'C'] == 46 and wrong[(4, 3, 2), 'C'] == 23, (
    'the behaviour has changed')
print('as stated: labels in C order come back in the wrong places')
PY
