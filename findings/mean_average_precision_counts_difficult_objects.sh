#!/usr/bin/env bash
# mean-average-precision 2024.1.5.0: PASCAL VOC leaves objects marked as
# difficult out of the evaluation, of the hits as well as of the objects to be
# found. The package leaves out the hits only. A detector that finds the one
# plain and the one difficult object of an image has an average precision of
# 0.5, where the definition of VOC gives 1; one that finds all ten objects, nine
# of them difficult, has 0.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mean-average-precision==2024.1.5.0' 'numpy==2.4.6' 'pandas==3.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import mean_average_precision
import numpy as np

print('mean-average-precision',
      importlib.metadata.version('mean-average-precision'))


def precision(number, difficult):
  """Returns the average precision of finding each object exactly."""
  boxes = np.array([[50 * k, 0, 50 * k + 40, 40] for k in range(number)])
  truth = np.zeros((number, 7))
  truth[:, :4], truth[:difficult, 5] = boxes, 1
  found = np.zeros((number, 6))
  found[:, :4], found[:, 5] = boxes, 0.9
  metric = mean_average_precision.MetricBuilder.build_evaluation_metric(
      'map_2d', async_mode=False, num_classes=1)
  metric.add(found, truth)
  return round(float(metric.value(iou_thresholds=0.5)['mAP']), 4)


seen = {case: precision(*case) for case in ((2, 0), (2, 1), (10, 9))}
for (number, difficult), value in seen.items():
  print(f'{number} objects, {difficult} of them difficult, all found: {value}')
assert seen[2, 0] == 1
assert seen[2, 1] == 0.5 and seen[10, 9] == 0.1, 'the behaviour has changed'
print('as stated: difficult objects count as missed')
PY
