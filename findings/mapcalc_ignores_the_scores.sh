#!/usr/bin/env bash
# mapcalc 0.2.2: calculate_map takes a score of each detection, but goes through
# the detections as they are listed and never ranks them, so that the average
# precision depends on the order of the list and not on the scores. Of four
# detections, two right ones with scores 0.9 and 0.8 and two wrong ones with 0.2
# and 0.1, over two objects, the average precision at an IoU of 0.5 is 1. It comes
# out so where the right ones are listed first, and as 0.5 where they come last.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mapcalc==0.2.2' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import mapcalc

print('mapcalc', importlib.metadata.version('mapcalc'))
objects = {'boxes': [[0, 0, 9, 9], [20, 20, 29, 29]], 'labels': [1, 1]}
detections = [([0, 0, 9, 9], 0.9), ([20, 20, 29, 29], 0.8),
              ([40, 0, 49, 9], 0.2), ([60, 0, 69, 9], 0.1)]
seen = {}
for name, order in (('best first', [0, 1, 2, 3]), ('best last', [3, 2, 1, 0]),
                    ('mixed', [2, 0, 3, 1])):
  boxes, scores = zip(*(detections[place] for place in order))
  seen[name] = round(float(mapcalc.calculate_map(
      objects, {'boxes': list(boxes), 'labels': [1] * 4, 'scores': list(scores)}, 0.5)), 4)
  print(f'{name}: scores {scores}, average precision {seen[name]}')
assert seen['best first'] == 1
assert seen['best last'] == 0.5 and seen['mixed'] < 1, 'the behaviour has changed'
print('as stated: the average precision depends on the order of the list')
PY
