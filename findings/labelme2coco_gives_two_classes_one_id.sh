#!/usr/bin/env bash
# labelme2coco 0.2.6: a list of categories to start from, which its docstring
# offers, does not move the counter of new ones on. The first new label gets the
# id 0, which the first of the list has already: two categories share an id,
# and a reader like pycocotools shows every object of the one as the other.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'labelme2coco==0.2.6' 'sahi==0.12.8' 'numpy==2.4.6' 'pycocotools==2.0.11'
cd "$work"
"$work/venv/bin/python" - 2>log.txt <<'PY' || { cat log.txt; exit 1; }
import importlib.metadata
import json
import os

from labelme2coco import labelme2coco
from pycocotools import coco

print('labelme2coco', importlib.metadata.version('labelme2coco'))
function = labelme2coco.get_coco_from_labelme_folder
assert 'start from a predefined coco cateory list' in function.__doc__, (
    'the documentation has changed')
os.mkdir('labels')
square = [[10, 10], [30, 10], [30, 30], [10, 30]]
shapes = [{'label': label, 'shape_type': 'polygon', 'group_id': None,
           'flags': {}, 'points': [[x + offset, y] for x, y in square]}
          for label, offset in (('spleen', 0), ('liver', 40))]
with open('labels/a.json', 'w') as file:
  json.dump({'version': '5.5.0', 'flags': {}, 'shapes': shapes,
             'imagePath': 'a.png', 'imageData': None, 'imageHeight': 64,
             'imageWidth': 96}, file)


def classes(**options):
  """Returns the ids of the categories and the class of each object."""
  with open('coco.json', 'w') as file:
    json.dump(function('labels', **options).json, file)
  data = coco.COCO('coco.json')
  names = [data.cats[item['category_id']]['name']
           for item in data.dataset['annotations']]
  return [(c['id'], c['name']) for c in data.dataset['categories']], names


start = [{'id': 0, 'name': 'spleen', 'supercategory': 'organ'}]
plain, listed = classes(), classes(coco_category_list=start)
print('drawn: spleen, liver')
print('without a list:', *plain)
print('with a list:   ', *listed)
assert plain == ([(0, 'spleen'), (1, 'liver')], ['spleen', 'liver'])
assert listed == ([(0, 'spleen'), (0, 'liver')], ['liver', 'liver']), (
    'the behaviour has changed')
print('as stated: both categories have the id 0')
PY
