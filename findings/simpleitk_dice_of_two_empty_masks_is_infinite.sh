#!/usr/bin/env bash
# SimpleITK 2.5.7: LabelOverlapMeasuresImageFilter returns infinity for the Dice
# coefficient of two empty masks, and 1.8e308, the largest number, for Jaccard
# and the error rates, without a warning. Both are shares, from 0 to 1; one such
# case, as of a patient without the lesion, makes the mean of a data set
# infinite.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK

empty = SimpleITK.GetImageFromArray(np.zeros((4, 4, 4), np.uint8))
full = SimpleITK.GetImageFromArray(np.ones((4, 4, 4), np.uint8))
measures = SimpleITK.LabelOverlapMeasuresImageFilter()


def both(a, b):
  measures.Execute(a, b)
  return (measures.GetDiceCoefficient(), measures.GetJaccardCoefficient(),
          measures.GetFalseNegativeError())


print('SimpleITK', SimpleITK.Version.VersionString())
print('Dice, Jaccard, false negatives')
print('full and full:  ', both(full, full))
print('empty and empty:', both(empty, empty))
largest = np.finfo(np.float64).max
assert both(full, full) == (1, 1, 0)
assert both(empty, empty) == (np.inf, largest, largest), (
    'the behaviour has changed')
PY
