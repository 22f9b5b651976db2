#!/usr/bin/env bash
# pycocoedit 0.0.1: filters include or exclude images, categories and annotations, and
# can be chained. Where one target has filters of both kinds, those that exclude are
# applied to what was there before those that include, whose result is thrown away. To
# include the annotations with an area up to 100 and to exclude those from 50 to 60
# leaves areas of 10, 200, 300 and 400: only the excluded one is missing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pycocoedit==0.0.1' 'typing-extensions==4.16.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from pycocoedit.objectdetection.data import CocoData
from pycocoedit.objectdetection.filter import BoxAreaFilter
from pycocoedit.objectdetection.filter import FilterType

print('pycocoedit', importlib.metadata.version('pycocoedit'))
dataset = {
    'images': [{'id': 1, 'file_name': 'a.png', 'width': 50, 'height': 50}],
    'categories': [{'id': 1, 'name': 'liver', 'supercategory': 'organ'}],
    'annotations': [{'id': n, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, area // 5, 5],
                     'area': area, 'segmentation': []}
                    for n, area in enumerate((10, 55, 200, 300, 400), 1)]}
include = BoxAreaFilter(FilterType.INCLUSION, max_area=100)
exclude = BoxAreaFilter(FilterType.EXCLUSION, min_area=50, max_area=60)
seen = {}
for name, filters in (('include', [include]), ('exclude', [exclude]),
                      ('include, exclude', [include, exclude]),
                      ('exclude, include', [exclude, include])):
  data = CocoData(dataset)
  for each in filters:
    data.add_filter(each)
  seen[name] = [a['area'] for a in data.apply_filter().get_dataset()['annotations']]
  print(f'{name}: areas that are left {seen[name]}')
assert seen['include'] == [10, 55] and seen['exclude'] == [10, 200, 300, 400]
assert seen['include, exclude'] == seen['exclude, include'] == [10, 200, 300, 400], (
    'the behaviour has changed')
print('as stated: with a filter that excludes, the one that includes has no effect')
PY
