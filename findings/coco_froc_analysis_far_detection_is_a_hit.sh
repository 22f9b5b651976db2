#!/usr/bin/env bash
# coco-froc-analysis 0.2.15: froc_point counts a detection as a hit of a lesion if its
# centre lies in the lesion's box, or by IoU. It assigns detections to lesions at the
# least cost, and then counts all assigned pairs, those with no overlap at all too. Two
# images with a lesion and a detection far away each have a sensitivity of 1 and no false
# positive, with and without use_iou. Only what exceeds the number of lesions is false.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'coco-froc-analysis==0.2.15' 'numpy==1.26.4' 'scipy==1.15.3' 'matplotlib==3.10.3' 'tqdm==4.67.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from coco_froc_analysis.froc import froc_curve

print('coco-froc-analysis', importlib.metadata.version('coco-froc-analysis'))
truth = {
    'images': [{'id': 1}, {'id': 2}],
    'categories': [{'id': 1, 'name': 'lesion'}],
    'annotations': [{'id': i, 'image_id': i, 'category_id': 1,
                     'bbox': [10, 10, 20, 20]} for i in (1, 2)]}
rates = {}
for title, box in (('exact', [10, 10, 20, 20]), ('far away', [200, 200, 20, 20])):
  found = [{'image_id': i, 'category_id': 1, 'bbox': box, 'score': 0.9}
           for i in (1, 2)]
  for use_iou in (False, True):
    hits, alarms = froc_curve.calc_scores(
        froc_curve.froc_point(truth, found, 0.5, use_iou, 0.5), {}, {})
    rates[title, use_iou] = hits[1][0], alarms[1][0]
    print(f'{title:8} use_iou={use_iou!s:5} sensitivity {hits[1][0]}, '
          f'false positives per image {alarms[1][0]}')
assert rates['exact', False] == rates['exact', True] == (1, 0)
assert rates['far away', False] == rates['far away', True] == (1, 0), (
    'the behaviour has changed')
PY
