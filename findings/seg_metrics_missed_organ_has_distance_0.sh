#!/usr/bin/env bash
# seg_metrics 1.2.8 gives the Hausdorff and mean surface distances of an empty
# prediction as 0, the value of a perfect one, without a warning; so too where
# the truth is empty and the prediction is not. A missed organ lowers the mean
# distance of a data set; infinity, nan or the image's diagonal would not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'seg-metrics==1.2.8' 'medutils==0.1.21' 'SimpleITK==2.5.7' 'numpy==2.2.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
from seg_metrics import seg_metrics

organ = np.zeros((10, 10, 10), int)
organ[2:5, 2:5, 2:5] = 1
nothing = np.zeros_like(organ)
shifted = np.roll(organ, 1, 0)
names = ['dice', 'hd', 'hd95', 'msd']
score = {
    title: [float(seg_metrics.write_metrics(
        labels=[1], gdth_img=truth, pred_img=found, metrics=names)[0][name][0])
        for name in names]
    for title, truth, found in (
        ('exact', organ, organ), ('shifted', organ, shifted),
        ('missed', organ, nothing), ('invented', nothing, organ))}
print('seg_metrics 1.2.8', names)
for title, values in score.items():
  print(f'{title:9}', np.round(values, 3))
assert score['exact'] == [1, 0, 0, 0] and score['shifted'][1] == 1
assert score['missed'] == score['invented'] == [0, 0, 0, 0], (
    'the behaviour has changed')
PY
