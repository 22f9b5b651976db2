#!/usr/bin/env bash
# medpy 0.5.2: obj_fpr is documented as the share of the objects in the result
# that have no partner in the reference. It returns the share of the objects in
# the reference that have none in the result: of a result that finds two of
# three lesions and nothing else, the rate of false positives is 1/3, and of one
# that adds a third lesion to two, it is 0. The example in its own docstring
# gives these two numbers the other way round.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'medpy==0.5.2' 'numpy==2.4.6' 'scipy==1.17.1' 'simpleitk==2.5.7'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from medpy.metric import binary
import numpy as np

print('medpy', importlib.metadata.version('medpy'))
words = ' '.join(binary.obj_fpr.__doc__.split())
assert ('how many distinct binary objects in ``results`` have no corresponding '
        'binary object in ``reference``') in words
assert ('>>> obj_fpr(arr1, arr2) 0.0 >>> obj_fpr(arr2, arr1) 0.33333'
        in words), 'the documentation has changed'
two, three = np.array([1, 0, 1, 0, 0]), np.array([1, 0, 1, 0, 1])
missed = binary.obj_fpr(result=two, reference=three)
added = binary.obj_fpr(result=three, reference=two)
print('result with 2 of 3 lesions, none added: false positive rate',
      round(missed, 3), 'and not 0')
print('result with 3 lesions, 2 are real:      false positive rate',
      round(added, 3), 'and not', round(1 / 3, 3))
assert (missed, added) == (1 / 3, 0), 'the behaviour has changed'
print('as stated: the missed lesions are counted, not the added ones')
PY
