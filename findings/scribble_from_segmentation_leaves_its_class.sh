#!/usr/bin/env bash
# scribble-from-segmentation 0.2.1 makes scribbles from masks, for training with
# weak labels. It thickens each class before it thins it, so that holes and
# gaps close: all of the scribble of a ring lies in the ring's hole, and most of
# that of two discs outside of both. A true scribble lies inside of its class;
# whoever trains on these teaches the network wrong labels without knowing it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'scribble-from-segmentation==0.2.1' 'numpy==2.4.6' 'scikit-image==0.26.0' 'pillow==13.0.0' 'opencv-python==5.0.0.93'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import contextlib
import io
import os

import numpy as np
from PIL import Image
import scribble_from_segmentation

y, x = np.mgrid[:256, :256]
far = lambda i, j: np.hypot(y - i, x - j)
regions = {
    'disc': far(128, 128) < 70,
    'ring': (far(128, 128) < 60) & (far(128, 128) > 30),
    'two discs': (far(60, 60) < 25) | (far(140, 60) < 25)}
os.makedirs('masks')
for name, region in regions.items():
  Image.fromarray(region[..., None] * np.uint8([255, 0, 0])).save(
      f'masks/{name}.png')
with contextlib.redirect_stdout(io.StringIO()):
  scribble_from_segmentation.generate_annotations_from_segmentations(
      'masks', 'scribbles')
print('scribble-from-segmentation 0.2.1')
outside = {}
for name, region in regions.items():
  scribble = np.asarray(Image.open(f'scribbles/{name}.png')).any(-1)
  outside[name] = (scribble & ~region).sum() / scribble.sum()
  print(f'{name}: {scribble.sum()} pixels, {outside[name]:.0%} off the class')
assert outside['disc'] == 0
assert outside['ring'] == 1 and outside['two discs'] > 0.5, (
    'the behaviour has changed')
PY
