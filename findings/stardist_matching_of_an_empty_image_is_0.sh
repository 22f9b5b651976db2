#!/usr/bin/env bash
# stardist 0.9.2: matching of an image without objects, in which none was predicted,
# gives precision, recall, accuracy and F1 of 0, as if all had been missed.
# matching_dataset with by_image=True averages these: with one perfect image of two
# cells and one perfect empty image, F1 is 0.5; with by_image=False it is 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-cache-dir --no-compile 'stardist==0.9.2' 'numpy==1.26.4'
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import importlib.metadata

import numpy as np
from stardist.matching import matching, matching_dataset

print('stardist', importlib.metadata.version('stardist'))
cells, empty = np.zeros((2, 20, 20), int)
cells[2:8, 2:8], cells[12:18, 12:18] = 1, 2
alone = matching(empty, empty)
print('empty, nothing predicted: fp', alone.fp, 'fn', alone.fn, 'precision',
      alone.precision, 'recall', alone.recall, 'F1', alone.f1)
assert (alone.fp, alone.fn, alone.f1, alone.accuracy) == (0, 0, 0, 0)
assert matching(cells, cells).f1 == 1
found = {by_image: matching_dataset(
    [cells, empty], [cells, empty], by_image=by_image, show_progress=False).f1
         for by_image in (True, False)}
print('two perfect images, one of them empty: F1', found)
assert found == {True: 0.5, False: 1.0}, 'the behaviour has changed'
print('as stated: a perfect empty image counts as 0')
PY
