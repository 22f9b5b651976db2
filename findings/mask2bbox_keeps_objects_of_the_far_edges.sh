#!/usr/bin/env bash
# mask2bbox 0.0.28: remove_from_edge is to remove the boxes on the edge of the
# image, but a box ends in the last row and column of its object, and these are
# compared with the number of rows and columns, which they never reach. Of five
# objects, one at each edge of a mask of 20 x 20 and one in the middle, those at
# the top and at the left are removed; those at the bottom and at the right stay.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mask2bbox==0.0.28' 'scikit-image==0.26.0' 'matplotlib==3.10.8' 'numpy==2.4.6'
cd "$work"
MPLBACKEND=agg "$work/venv/bin/python" - <<'PY'
import importlib.metadata

from mask2bbox._bboxes import BBoxes  # "from mask2bbox" alone fails.
import numpy as np
from skimage import io

print('mask2bbox', importlib.metadata.version('mask2bbox'))
mask = np.zeros((20, 20), 'uint8')
places = {'top': (0, 9), 'bottom': (17, 9), 'left': (9, 0), 'right': (9, 17),
          'middle': (9, 9)}
for label, (row, column) in enumerate(places.values(), 1):
  mask[row : row + 3, column : column + 3] = label
io.imsave('mask.png', mask, check_contrast=False)
boxes = BBoxes.from_mask('mask.png')
names = dict(enumerate(places, 1))
for label, *box in boxes.bboxes.tolist():
  print(names[label], 'first row, last row, first column, last column:', box)
kept = {names[label] for label in boxes.remove_from_edge().identities().tolist()}
print('kept by remove_from_edge:', sorted(kept))
for name in places:
  rows, columns = np.nonzero(mask == list(places).index(name) + 1)
  on_edge = min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == 19
  assert on_edge == (name != 'middle')
assert kept == {'bottom', 'right', 'middle'}, 'the behaviour has changed'
print('as stated: objects at the bottom and at the right stay')
PY
