#!/usr/bin/env bash
# map-boxes 1.0.6: mean_average_precision_for_boxes gives an object to the first
# detection in the table that overlaps it, not to the surest, and sorts by the
# scores only afterwards. One object, found twice, with a score of 0.9 and of
# 0.3, has an average precision of 1 in this order of the rows and of 0.5 in the
# other.
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
truth = [['a', 'tumor', 0., 0.2, 0., 0.2]]
found = [['a', 'tumor', 0.9, 0., 0.2, 0., 0.2],
         ['a', 'tumor', 0.3, 0., 0.2, 0., 0.19]]
seen = []
for rows in (found, found[::-1]):
  mean, _ = map_boxes.mean_average_precision_for_boxes(truth, rows,
                                                       verbose=False)
  seen.append(float(mean))
  print('scores by row:', [row[2] for row in rows], '- average precision:',
        seen[-1])
assert seen[0] == 1
assert seen[1] == 0.5, 'the behaviour has changed'
print('as stated: the average precision depends on the order of the rows')
PY
