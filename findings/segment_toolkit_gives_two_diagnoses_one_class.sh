#!/usr/bin/env bash
# segment-toolkit 1.2.0: a CSV table of diagnoses gives each image its class. The
# columns that it knows have fixed numbers, and another one takes the number of
# columns so far, which may be taken. In the table of ISIC 2019 (MEL, NV, BCC, AK, BKL,
# DF, VASC, SCC, UNK) AK becomes 3, and so does DF: the YOLO labels of actinic
# keratoses and of dermatofibromas are the same. Its log has no word of it.
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
from segment_toolkit import MaskToYoloConverter

print('segment-toolkit', importlib.metadata.version('segment-toolkit'))
diagnoses = ('MEL', 'NV', 'BCC', 'AK', 'BKL', 'DF', 'VASC', 'SCC', 'UNK')
for folder in ('images', 'masks'):
  Path(folder).mkdir()
lines = ['image,' + ','.join(diagnoses)]
for number, name in enumerate(diagnoses):
  cv2.imwrite(f'images/{name}.png', np.full((64, 64, 3), 90, 'uint8'))
  mask = np.zeros((64, 64), 'uint8')
  mask[20:40, 10:30] = 255
  cv2.imwrite(f'masks/{name}.png', mask)
  lines.append(f'{name},' + ','.join(str(float(n == number)) for n in range(9)))
Path('truth.csv').write_text('\n'.join(lines) + '\n')
converter = MaskToYoloConverter((64, 64))
assert converter.convert_dataset('images', 'masks', 'labels', ground_truth='truth.csv') == 9
classes = {name: int(Path(f'labels/{name}.txt').read_text().split()[0])
           for name in diagnoses}
print('diagnosis and class of its label:', classes)
assert sorted(set(classes.values())) == [1, 2, 3, 4, 5, 6, 7, 8]
assert classes['AK'] == classes['DF'] == 3, 'the behaviour has changed'
print('as stated: nine diagnoses have eight classes')
PY
