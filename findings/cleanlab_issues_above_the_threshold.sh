#!/usr/bin/env bash
# cleanlab 2.9.0, segmentation: issues_from_scores promises the images whose
# label quality score falls below the threshold. It always adds the next one
# above: of scores of 0.9, 0.8, 0.95 and 0.05 with the threshold 0.1 it names
# two images, one with the score 0.8, and of a data set without any low score
# still one. The mask per pixel of the same function is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'cleanlab==2.9.0' 'numpy==2.2.6' 'scikit-learn==1.7.2' 'pandas==2.3.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from cleanlab.segmentation import rank
import numpy as np

print('cleanlab', importlib.metadata.version('cleanlab'))
words = ' '.join(rank.issues_from_scores.__doc__.split())
assert ('of the images whose label quality score falls below the `threshold`'
        in words), 'the documentation has changed'
seen = []
for scores in ([0.9, 0.8, 0.95, 0.05], [0.9, 0.8, 0.95]):
  scores = np.array(scores)
  found = rank.issues_from_scores(scores, threshold=0.1)
  pixels = rank.issues_from_scores(scores, scores[:, None, None], threshold=0.1)
  seen.append(scores[found].tolist())
  print(f'scores {scores}: images named {found}, their scores {scores[found]};',
        'images with a pixel below:', np.flatnonzero(pixels.any((1, 2))))
assert seen == [[0.05, 0.8], [0.8]], 'the behaviour has changed'
print('as stated: an image above the threshold is named')
PY
