#!/usr/bin/env bash
# cocoutils-cv 0.0.2: mergeCoco appends a second COCO dataset to a first one under new
# ids, which start at the number of images. Where the ids of the first are 1, 2, ... n, as
# in most COCO files, n is taken: of the merged dataset two images have one id, and two
# boxes as well. pycocotools finds 3 images and 3 boxes in place of 4. With ids from 0 all
# are found.
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
from pycocotools.coco import COCO

print('cocoutils-cv', importlib.metadata.version('cocoutils-cv'))


def write(path, files, start):
  Path(path).write_text(json.dumps({
      'info': {}, 'licenses': [], 'categories': [{'id': 0, 'name': 'liver'}],
      'images': [{'id': n, 'file_name': f, 'width': 9, 'height': 9}
                 for n, f in enumerate(files, start)],
      'annotations': [{'id': n, 'image_id': n, 'category_id': 0, 'bbox': [0, 0, 3, 3],
                       'area': 9, 'iscrowd': 0} for n in range(start, start + len(files))]}))


seen = {}
for start in (0, 1):
  write('first.json', ['a.png', 'b.png'], start)
  write('second.json', ['c.png', 'd.png'], start)
  Transfer().mergeCoco('merged.json', 'first.json', 'second.json')
  images = json.loads(Path('merged.json').read_text())['images']
  merged = COCO('merged.json')
  seen[start] = [i['id'] for i in images], len(merged.imgs), len(merged.anns)
  print(f"ids from {start}: images {[(i['id'], i['file_name']) for i in images]}, read by "
        f'pycocotools: {seen[start][1]} images, {seen[start][2]} boxes')
assert seen[0] == ([0, 1, 2, 3], 4, 4)
assert seen[1] == ([1, 2, 2, 3], 3, 3), 'the behaviour has changed'
print('as stated: two images of the merged dataset have one id')
PY
