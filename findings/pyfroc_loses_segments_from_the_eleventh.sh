#!/usr/bin/env bash
# pyfroc 0.3.5 reads the responses of raters from segmentations of 3D Slicer, with the
# confidence in the name of each segment. It takes the last digit of a segment's number
# only, so that Segment10 takes the place of Segment0, and Segment11 that of Segment1.
# Of 12 lesions that a rater marked, 10 are read, the first two are lost, and nothing is
# told. Up to 10 segments all are read.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pyfroc==0.3.5' 'numpy==1.26.4' 'scikit-image==0.26.0' 'pandas==3.0.6' 'pydicom==3.0.2' 'pynrrd==1.1.3' 'matching==1.4.3' 'bidict==0.24.1' 'miniballcpp==0.2.3' 'tcia-utils==3.3.5'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import nrrd
import numpy as np
from pyfroc.loaders import seg_nrrd

print('pyfroc', importlib.metadata.version('pyfroc'))


def read(number):
  """Returns the confidences that are read from so many segments."""
  labels = np.zeros((2 * number, 4, 4), np.uint8)
  header = {'space': 'left-posterior-superior', 'space directions': np.eye(3),
            'space origin': np.zeros(3)}
  for i in range(number):
    labels[2 * i, 1:3, 1:3] = i + 1
    header |= {f'Segment{i}_LabelValue': str(i + 1), f'Segment{i}_Layer': '0',
               f'Segment{i}_Name': str(50 + i), f'Segment{i}_ID': f'Segment_{i}'}
  nrrd.write('case.seg.nrrd', labels, header)
  loader = seg_nrrd.SegNRRDLoader
  return sorted(response.confidence for response in loader.segnrrd2responses(
      loader.read_segnrrd('case.seg.nrrd')))


for number in (10, 12):
  print(number, 'segments, read:', read(number))
assert read(10) == list(range(50, 60))
assert read(12) == list(range(52, 62)), 'the behaviour has changed'
print('as stated: the confidences 50 and 51 are lost')
PY
