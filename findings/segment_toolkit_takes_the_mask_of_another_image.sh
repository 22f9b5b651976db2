#!/usr/bin/env bash
# segment-toolkit 1.2.0: an image whose mask is missing is to be skipped with a
# warning, but before that any mask whose name begins with the name of the image
# is taken. Of the images lesion_1 and lesion_10, and the mask of lesion_10 alone, both
# get a label, the box of lesion_10, and nothing is told. An image named lesion_2 is
# skipped. The converter to polygons does the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: OpenCV without windows is enough. At its import the
# package would install what it misses by itself; nothing is missing.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'pandas==3.1.1' 'matplotlib==3.11.2' 'typer==0.29.2' 'pillow==13.0.0'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'segment-toolkit==1.2.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
from pathlib import Path

import cv2
import numpy as np
from segment_toolkit import MaskToPolygonConverter
from segment_toolkit import MaskToYoloConverter

print('segment-toolkit', importlib.metadata.version('segment-toolkit'))
for folder in ('images', 'masks'):
  Path(folder).mkdir()
for name in ('lesion_1', 'lesion_2', 'lesion_10'):
  cv2.imwrite(f'images/{name}.png', np.full((64, 64, 3), 90, 'uint8'))
mask = np.zeros((64, 64), 'uint8')
mask[20:40, 10:30] = 255
cv2.imwrite('masks/lesion_10.png', mask)
for converter in (MaskToYoloConverter, MaskToPolygonConverter):
  folder = Path(converter.__name__)
  number = converter((64, 64)).convert_dataset('images', 'masks', str(folder))
  labels = {path.stem: path.read_text().strip() for path in sorted(folder.iterdir())}
  print(f'{folder}: {number} labels of one mask: {labels}')
  assert number == len(labels)
  assert sorted(labels) == ['lesion_1', 'lesion_10'], 'the behaviour has changed'
  assert labels['lesion_1'] == labels['lesion_10']
print('as stated: lesion_1 has the label of lesion_10')
PY
