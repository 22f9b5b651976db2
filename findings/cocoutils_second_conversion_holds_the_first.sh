#!/usr/bin/env bash
# cocoutils-cv 0.0.2: all Transfer objects fill one dataset, which belongs to the
# module. The first conversion of a program is right. The file of the second, of other
# annotations by another Transfer, holds the images and boxes of the first as well, with
# the same ids for both: two categories of id 0, liver and lesion, and two images of
# id 0. Nothing is told.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: OpenCV without windows is enough.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'numpy==2.4.6' 'matplotlib==3.11.2' 'tqdm==4.70.1' 'pycocotools==2.0.11'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'cocoutils-cv==0.0.2'
cd "$work"
MPLBACKEND=agg "$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
from pathlib import Path

from cocoutils import Transfer

print('cocoutils-cv', importlib.metadata.version('cocoutils-cv'))


def write_voc(folder, files, label):
  Path(folder).mkdir()
  for name in files:
    Path(folder, f'{name}.xml').write_text(
        f'<annotation><filename>{name}.jpg</filename><size><width>50</width><height>40'
        f'</height></size><object><name>{label}</name><bndbox><xmin>5</xmin><ymin>6</ymin>'
        '<xmax>25</xmax><ymax>26</ymax></bndbox></object></annotation>')


write_voc('first', ['a', 'b'], 'liver')
write_voc('second', ['c'], 'lesion')
seen = {}
for name in ('first', 'second'):
  Transfer().voc2coco(f'{name}.json', name)
  dataset = json.loads(Path(f'{name}.json').read_text())
  seen[name] = [sorted(i['file_name'] for i in dataset['images']), len(dataset['annotations']),
                [(c['id'], c['name']) for c in dataset['categories']]]
  print(f'{name}: images {seen[name][0]}, boxes {seen[name][1]}, categories {seen[name][2]}')
assert seen['first'] == [['a.jpg', 'b.jpg'], 2, [(0, 'liver')]]
assert sorted(i['id'] for i in dataset['images']) == [0, 0, 1]
assert seen['second'] == [['a.jpg', 'b.jpg', 'c.jpg'], 3, [(0, 'liver'), (0, 'lesion')]], (
    'the behaviour has changed')
print('as stated: the second file holds the first dataset too')
PY
