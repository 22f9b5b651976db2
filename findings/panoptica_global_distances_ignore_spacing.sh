#!/usr/bin/env bash
# panoptica 2.1.7: evaluate takes the spacing of the voxels 'for the evaluation'
# and uses it for the distances of single instances only. The global distances
# of the same result (HD, HD95, ASSD, NSD, CEDI) are in voxels, without a
# warning, so that one table holds two units: of one lesion, two slices of 5 mm
# off, the Hausdorff distance is 10 and the global one is 2.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'panoptica==2.1.7' 'numpy==2.2.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'connected-components-3d==3.29.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import panoptica
from panoptica import metrics
from panoptica.utils import edge_case_handling

truth, prediction = np.zeros((2, 20, 20, 20), np.uint8)
truth[5:12, 5:15, 5:15] = 1
prediction[7:14, 5:15, 5:15] = 1
names = ('HD', 'CEDI')
kinds = [metrics.Metric[name] for name in names]
handling = edge_case_handling.MetricZeroTPEdgeCaseHandling(
    default_result=edge_case_handling.EdgeCaseResult.NAN)
evaluator = panoptica.Panoptica_Evaluator(
    expected_input=panoptica.InputType.MATCHED_INSTANCE,
    instance_metrics=kinds, global_metrics=kinds,
    edge_case_handler=edge_case_handling.EdgeCaseHandler(
        dict.fromkeys(kinds, handling)))
result = evaluator.evaluate(
    prediction, truth, voxelspacing=(5, 1, 1), verbose=False)['ungrouped']
print('panoptica', importlib.metadata.version('panoptica'))
for name in names:
  one = getattr(result, f'sq_{name.lower()}')
  whole = getattr(result, f'global_bin_{name.lower()}')
  print(f'{name}: of the only instance {one}, global {whole}')
  assert one == 10
  assert whole == 2, 'the behaviour has changed'
print('as stated: global distances ignore the spacing')
PY
