#!/usr/bin/env bash
# lesion-metrics 0.1.12: Metrics.from_filenames reports the lesion true positive rate
# 'ltpr', the number of true lesions 'truth_count' and, from them, the 'isbi15_score'. It
# takes the first two from the result of the lesion false discovery rate. Of 4 lesions and
# a prediction that finds 1 and adds none, ltpr is 0 with a truth_count of 1, and the score
# 0.567. The functions ltpr and isbi15_score of the same package say 0.25, 4 and 0.65. A
# prediction that is wrong everywhere has a true positive rate of 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'lesion-metrics==0.1.12' 'pymedio==0.1.8' 'nibabel==3.2.2' 'setuptools==80.9.0' 'simpleitk==2.5.7' 'pydicom==2.4.4' 'scikit-image==0.26.0' 'scipy==1.17.1' 'numpy==1.26.4'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import nibabel
import numpy as np
from lesion_metrics import helper, metrics

print('lesion-metrics', importlib.metadata.version('lesion-metrics'))
truth, one, wrong = (np.zeros((40, 20, 20), np.uint8) for _ in range(3))
for start in range(2, 40, 10):
  truth[start:start + 4, 2:6, 2:6] = 1
one[2:6, 2:6, 2:6] = 1
wrong[2:6, 12:16, 12:16] = 1
for name, mask in (('truth', truth), ('one', one), ('wrong', wrong)):
  nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), f'{name}.nii.gz')
found = {}
for name, mask in (('one', one), ('wrong', wrong)):
  rate, number = metrics.ltpr(mask, truth, return_truth_count=True)
  score = metrics.isbi15_score(mask, truth)
  report = helper.Metrics.from_filenames(f'{name}.nii.gz', 'truth.nii.gz')
  print(f'{name}: ltpr {rate}, true lesions {number}, score {score:.3f}')
  print(f'  Metrics: ltpr {report.ltpr}, lfdr {report.lfdr}, truth_count {report.truth_count}, '
        f'score {report.isbi15_score:.3f}')
  assert number == 4 and rate == (0.25 if name == 'one' else 0)
  found[name] = report.ltpr, report.truth_count
  assert report.lfdr == metrics.lfdr(mask, truth)
assert abs(metrics.isbi15_score(one, truth) - 0.65) < 1e-9
assert found == {'one': (0, 1), 'wrong': (1, 1)}, 'the behaviour has changed'
print('as stated: the true positive rate is the false discovery rate')
PY
