#!/usr/bin/env bash
# map-boxes 1.0.6: by its documentation, mean_average_precision_for_boxes leaves
# images out that are not in the annotations if exclude_not_in_annotations is
# set. It leaves them out always: 50 false alarms in an image without an object,
# all of them surer than the one hit, leave the average precision of tumors at
# 1. As soon as the image has an annotation of another class, it is 0.02.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'map-boxes==1.0.6' 'numpy==2.4.6' 'pandas==3.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import map_boxes

print('map-boxes', importlib.metadata.version('map-boxes'))
function = map_boxes.mean_average_precision_for_boxes
assert ('exclude image IDs which are not exist in annotations. Default: False'
        in function.__doc__), 'the documentation has changed'
truth = [['ill', 'tumor', 0., 0.2, 0., 0.2]]
found = [['ill', 'tumor', 0.5, 0., 0.2, 0., 0.2]] + [
    ['healthy', 'tumor', 0.9, 0.01 * k, 0.01 * k + 0.1, 0., 0.1]
    for k in range(50)]


def precision(annotations, **options):
  """Returns the average precision of tumors."""
  _, classes = function(annotations, found, verbose=False, **options)
  return float(classes['tumor'][0])


kept = precision(truth, exclude_not_in_annotations=False)
left = precision(truth, exclude_not_in_annotations=True)
other = precision(truth + [['healthy', 'liver', 0.5, 0.9, 0.5, 0.9]])
print(f'50 false alarms in a healthy image: kept {kept}, left out {left},',
      f'kept, with a liver annotated there, {other:.4f}')
assert left == 1 and 0.019 < other < 0.02
assert kept == 1, 'the behaviour has changed'
print('as stated: the false alarms do not count')
PY
