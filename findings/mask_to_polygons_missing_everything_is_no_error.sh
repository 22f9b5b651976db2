#!/usr/bin/env bash
# mask-to-polygons 0.0.2: spacenet compares predicted with true polygons and counts true
# positives, false positives and false negatives. One prediction far from 3 true polygons
# gives 1 false positive and 3 false negatives. An image without any prediction has no
# false negative, and one without a true polygon no false positive, whatever was predicted,
# so that recall and precision over a set of images leave these images out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# Its pins are of 2019, without wheels for this Python; the scoring needs just these two.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'mask-to-polygons==0.0.2' 'shapely==2.1.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from mask_to_polygons.processing import score
from shapely.geometry import box

print('mask-to-polygons', importlib.metadata.version('mask-to-polygons'))
three = [box(20 * k, 0, 20 * k + 10, 10) for k in range(3)]
far = [box(200, 200, 210, 210)]
wrong, none, spurious = score.spacenet(far, three), score.spacenet([], three), score.spacenet(three, [])
print('3 true polygons, 1 prediction elsewhere:', wrong)
print('3 true polygons, no prediction:         ', none)
print('no true polygon, 3 predictions:         ', spurious)
assert wrong == {'tp': 0, 'fp': 1, 'fn': 3}
assert none == spurious == {'tp': 0, 'fp': 0, 'fn': 0}, 'the behaviour has changed'
print('as stated: an image that is missed altogether has no false negative')
PY
