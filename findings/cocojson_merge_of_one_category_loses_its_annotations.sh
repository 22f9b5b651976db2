#!/usr/bin/env bash
# cocojson 0.1.1: merge takes a list of category ids for each dataset, and only these
# are to be merged. Whether an annotation is kept depends not on its own category, but
# on the one that was looked at last: of a dataset with two categories and four
# annotations of each, the first alone, or the second alone, gives a dataset without
# annotations, with its images and its category. Both together, or no list, give all 8.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: OpenCV without windows is enough.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'numpy==2.4.6' 'pillow==13.0.0' 'tqdm==4.70.1'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'cocojson==0.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json
from pathlib import Path

from cocojson.tools import merge

print('cocojson', importlib.metadata.version('cocojson'))
images = Path('images')
images.mkdir()
categories = {1: 'liver', 2: 'lesion'}
dataset = {'info': {'description': 'ct'}, 'images': [], 'annotations': [],
           'categories': [{'id': n, 'name': name} for n, name in categories.items()]}
for number in range(1, 9):
  (images / f'{number}.png').write_bytes(b'not opened here')
  dataset['images'].append({'id': number, 'file_name': f'{number}.png', 'width': 9, 'height': 9})
  dataset['annotations'].append({'id': number, 'image_id': number, 'category_id': 1 + number % 2,
                                 'bbox': [0, 0, 2, 2], 'area': 4, 'iscrowd': 0})
Path('ct.json').write_text(json.dumps(dataset))
seen = {}
for ids in (None, [1, 2], [1], [2]):
  merge(['ct.json'], [images], 'out', cids=None if ids is None else [ids])
  result = json.loads(Path('out/merged.json').read_text())
  seen[str(ids)] = len(result['annotations'])
  assert len(result['images']) == 8
  print(f"category ids {ids}: categories {[c['name'] for c in result['categories']]}, "
        f"annotations {seen[str(ids)]}")
assert seen['None'] == seen['[1, 2]'] == 8
assert seen['[1]'] == seen['[2]'] == 0, 'the behaviour has changed'
print('as stated: the annotations of the category that was asked for are lost')
PY
