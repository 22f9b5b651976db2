#!/usr/bin/env bash
# MedPy 0.5.2: medpy.filter.label.relabel returns the labels in consecutive
# numbers, and one would expect the given labels to stay as they are. It writes
# the new numbers into its argument, too, if that array is in C order: labels 0,
# 40 and 7 of a segmentation become 1, 2 and 3, and its background is a class
# from then on. An array in Fortran order stays as it was, and so does every
# argument of relabel_non_zero, so that the result looks right in one place and
# the labels are lost in another.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  'MedPy==0.5.2' 'numpy==2.4.6' 'scipy==1.17.1' 'SimpleITK==2.5.7'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from medpy.filter import label

print('MedPy', importlib.metadata.version('MedPy'))
labels = np.zeros((4, 5), np.uint8)
labels[1:3, 1:3] = 40
labels[3, 4] = 7
kept = {}
for function in (label.relabel, label.relabel_non_zero):
  for order in 'CF':
    given = np.array(labels, order=order)
    seen = function(given)
    assert len(np.unique(seen)) == 3
    kept[function.__name__, order] = np.array_equal(given, labels)
    print(f'{function.__name__}, order {order}: the argument now holds '
          f'{np.unique(given).tolist()}')
assert kept.pop(('relabel', 'C')) is False, 'the behaviour has changed'
assert all(kept.values())
print('as stated: relabel overwrites labels in C order')
PY
