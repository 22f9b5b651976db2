#!/usr/bin/env bash
# pymia 0.3.4: AverageDistance documents the average Hausdorff distance as the
# larger of the two directed average distances, max(d(A,B), d(B,A)). It returns
# the mean of the two: of a lesion of one voxel and a prediction that has a
# second voxel 10 mm away, the directed distances are 0 and 5 mm, and pymia says
# 2.5 mm. Over-segmentation far away looks half as bad as by the definition.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pymia==0.3.4' 'simpleitk==2.5.7' 'numpy==2.2.6' 'scipy==1.15.3'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
from pymia.evaluation import metric

print('pymia', importlib.metadata.version('pymia'))
average = metric.AverageDistance()
assert 'AVD(A,B) = max(d(A,B), d(B,A))' in type(average).__init__.__doc__, (
    'the documentation has changed')
average.reference, average.prediction = np.zeros((2, 1, 1, 20), np.uint8)
average.reference[0, 0, 0] = 1
average.prediction[0, 0, [0, 10]] = 1
average.spacing = (1., 1., 1.)


def directed(one, other):
  """Returns the mean distance of the points of one to the nearest of other."""
  one, other = np.argwhere(one), np.argwhere(other)
  return np.linalg.norm(one[:, None] - other, axis=-1).min(1).mean().item()


both = [directed(average.reference, average.prediction),
        directed(average.prediction, average.reference)]
found = average.calculate()
print('directed distances:', both, 'maximum:', max(both))
print('AverageDistance:   ', found)
assert both == [0, 5]
assert found == 2.5, 'the behaviour has changed'
print('as stated: the mean of the two directions, not their maximum')
PY
