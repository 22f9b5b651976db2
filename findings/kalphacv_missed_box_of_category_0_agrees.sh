#!/usr/bin/env bash
# kalphacv 1.5.2: agreement on boxes by Krippendorff's alpha. Where a rater has no box
# for that of another, the cell gets class 0, so that a disagreement lowers alpha. A
# COCO category may have the id 0 as well, as in files made from YOLO labels: then a
# box that the other rater missed is an agreement. One rater with a box and one with
# none have an alpha of 1 for category 0 and of 0 for category 1. Two boxes far apart
# have 1 and -0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'kalphacv==1.5.2' 'krippendorff==0.9.0' 'numpy==2.4.6' 'scipy==1.17.1' 'shapely==2.2.0' 'pillow==13.0.0' 'tqdm==4.70.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import json

from kalphacv import calculate_iaa

print('kalphacv', importlib.metadata.version('kalphacv'))
one, other = ('first', [10, 10, 20, 20]), ('second', [60, 60, 20, 20])


def alpha(category, *boxes):
  """Returns alpha of an image that two raters have looked at."""
  image = {'id': 1, 'file_name': 'a.png', 'width': 100, 'height': 100,
           'raters': ['first', 'second']}
  objects = [{'id': i, 'image_id': 1, 'category_id': category, 'bbox': box,
              'rater': rater} for i, (rater, box) in enumerate(boxes)]
  with open('coco.json', 'w') as file:
    json.dump({'images': [image], 'annotations': objects}, file)
  return float(calculate_iaa.calculate_iaa_from_annotations(
      'bbox', 'coco.json', images_rater_key='raters',
      annotations_rater_key='rater', silent=True)[0.5])


for category in (0, 1):
  same = alpha(category, one, ('second', one[1]))
  missed, apart = alpha(category, one), alpha(category, one, other)
  print(f'category {category}: same box {same}, no second box {missed}, '
        f'boxes apart {apart}')
  assert same == 1
  assert (missed, apart) == ((1, 1) if category == 0 else (0, -0.5)), (
      'the behaviour has changed')
PY
