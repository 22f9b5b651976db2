#!/usr/bin/env bash
# cocojson 0.1.1: map_cat takes the new categories as a COCO list, with an id for each,
# and the documentation means it for "converting annotation labels to actual class
# label for training". The ids are thrown away: the new categories are numbered in the
# order of the old ones. With organ 1 and tumour 2, and a dataset that lists lesion
# before liver, a tumour gets 1 and an organ 2, and the caller's list is changed too.
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

from cocojson.tools.map_cat import map_cat

print('cocojson', importlib.metadata.version('cocojson'))
to_new = {'lesion': 'tumour', 'liver': 'organ'}
seen = {}
for order in (('liver', 'lesion'), ('lesion', 'liver')):
  old = [{'id': n, 'name': name} for n, name in enumerate(order, 1)]
  new = [{'id': 1, 'name': 'organ'}, {'id': 2, 'name': 'tumour'}]
  dataset = {'categories': old, 'annotations': [
      {'id': c['id'], 'category_id': c['id'], 'old_name': c['name']} for c in old]}
  result = map_cat(dataset, {'categories': new}, to_new)
  seen[order] = {to_new[a['old_name']]: a['category_id'] for a in result['annotations']}
  print(f"old categories {order}: ids of the annotations {seen[order]}, caller's list "
        f"{[(c['id'], c['name']) for c in new]}")
  assert {c['name']: c['id'] for c in result['categories']} == seen[order]
assert seen['liver', 'lesion'] == {'organ': 1, 'tumour': 2}
assert [c['id'] for c in new] == [2, 1]
assert seen['lesion', 'liver'] == {'organ': 2, 'tumour': 1}, 'the behaviour has changed'
print('as stated: the ids of the new categories are not kept')
PY
