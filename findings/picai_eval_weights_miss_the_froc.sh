#!/usr/bin/env bash
# picai_eval 1.4.13: evaluate documents that sample_weight is applied to the
# evaluation of lesions too, with a case's weight for all of its candidates. The
# AP heeds it; the counts behind the FROC curve do not, without a warning. With
# all the weight but a thousandth on the case whose lesion is found, the recall
# of the one curve is 0.999 and the sensitivity of the other 0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'picai_eval==1.4.13' 'numpy==2.2.6' 'scipy==1.17.1' 'scikit-learn==1.9.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

import numpy as np
import picai_eval

print('picai_eval', importlib.metadata.version('picai_eval'))
lesion = np.zeros((4, 16, 16), int)
lesion[1:3, 4:8, 4:8] = 1
found = (lesion * 0.9).astype(np.float32)
missed = np.zeros_like(found)
metrics = picai_eval.evaluate(
    y_det=[found, missed], y_true=[lesion, lesion], sample_weight=[999, 1],
    num_parallel_calls=1)
recall = metrics.recall[metrics.precision > 0].max()
sensitivity = metrics.lesion_TPR_at_FPR(1)
print('weights 999 (found) and 1 (missed)')
print('recall of the precision-recall curve:', recall)
print('sensitivity of the FROC curve:       ', sensitivity)
np.testing.assert_allclose(recall, 0.999)
assert sensitivity == 0.5, 'the behaviour has changed'
print('as stated: the FROC curve does not heed the weights')
PY
