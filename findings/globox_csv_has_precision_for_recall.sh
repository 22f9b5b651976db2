#!/usr/bin/env bash
# globox 2.9.0: the table of metrics per class, which save_csv writes and
# show_summary shows, has the average precision in its columns AR 1, AR 10 and
# AR 100. A detector that finds one of two objects gets 0.2525 under AR 100; its
# average recall, which ar_100 gives, is 0.5. The columns AR S, AR M and AR L
# hold the recall.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'globox==2.9.0' 'numpy==2.4.6' 'rich==15.0.0' 'tqdm==4.70.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import csv
import importlib.metadata

import globox

print('globox', importlib.metadata.version('globox'))


def box(x, y, confidence=None):
  """Returns a square of 20 pixels at a place."""
  return globox.BoundingBox(label='cell', xmin=x, ymin=y, xmax=x + 20,
                            ymax=y + 20, confidence=confidence)


truth = [box(0, 0), box(50, 50)]
found = [box(0, 0, 0.6), box(0, 50, 0.9)]
truth, found = (
    globox.AnnotationSet([globox.Annotation('a.png', (100, 100), boxes)])
    for boxes in (truth, found))
evaluator = globox.COCOEvaluator(ground_truths=truth, predictions=found)
evaluator.save_csv('metrics.csv')
with open('metrics.csv', newline='') as file:
  row = next(csv.DictReader(file))
recall, precision = evaluator.ar_100(), evaluator.ap()
print(f'ar_100: {recall:.4f}, ap: {precision:.4f}')
print('in the table:', {name: round(float(row[name]), 4) for name in (
    'AP 50:95', 'AR 10', 'AR 100', 'AR S')})
assert recall == evaluator.ar_10() == float(row['AR S']) == 0.5
assert abs(precision - 0.2525) < 1e-4
assert float(row['AR 100']) == float(row['AR 10']) == precision, (
    'the behaviour has changed')
print('as stated: the columns of the recall hold the precision')
PY
