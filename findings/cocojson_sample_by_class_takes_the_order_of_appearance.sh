#!/usr/bin/env bash
# cocojson 0.1.1: sample_by_class takes "a list of integers corresponding to the
# categories", how many images to sample of each, but gives them to the categories in
# the order in which these appear among the annotations. A dataset with the
# categories liver and lesion whose first annotation is a lesion, sampled with [4, 1],
# gets 4 images of lesions and 1 of the liver. If it begins with a liver, it is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Without the dependencies: OpenCV without windows is enough.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'opencv-python-headless==5.0.0.93' 'numpy==2.4.6' 'pillow==13.0.0' 'tqdm==4.70.1'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'cocojson==0.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
from collections import Counter
import importlib.metadata
import json
from pathlib import Path

from cocojson.tools import sample_by_class

print('cocojson', importlib.metadata.version('cocojson'))
images = Path('images')
images.mkdir()
names = {1: 'liver', 2: 'lesion'}
seen = {}
for first in (1, 2):
  dataset = {'images': [], 'annotations': [],
             'categories': [{'id': n, 'name': name} for n, name in names.items()]}
  for number in range(1, 13):
    category = first if number <= 6 else 3 - first
    (images / f'{number}.png').write_bytes(b'not opened here')
    dataset['images'].append({'id': number, 'file_name': f'{number}.png', 'width': 9, 'height': 9})
    dataset['annotations'].append({'id': number, 'image_id': number, 'category_id': category,
                                   'bbox': [0, 0, 2, 2], 'area': 4, 'iscrowd': 0})
  Path('ct.json').write_text(json.dumps(dataset))
  sample_by_class('ct.json', images, f'out{first}', class_ks=[4, 1])
  result = json.loads(Path(f'out{first}/ct.json').read_text())
  assert len(result['images']) == 5
  counts = Counter(names[a['category_id']] for a in result['annotations'])
  seen[names[first]] = counts['liver'], counts['lesion']
  print(f'first annotation a {names[first]}, 4 of the liver and 1 of lesions asked for: '
        f"{counts['liver']} of the liver, {counts['lesion']} of lesions")
assert seen['liver'] == (4, 1)
assert seen['lesion'] == (1, 4), 'the behaviour has changed'
print('as stated: the numbers go to the categories as they appear')
PY
