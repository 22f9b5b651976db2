#!/usr/bin/env bash
# mask-stats 0.3.0: the surface distances are those of every pixel that differs
# from a neighbour, on both sides of the border, so that the surface of a mask is
# two pixels thick and the surfaces of two masks overlap. Between a square of 40
# x 40 pixels and the one of 42 x 42 around it, whose borders are 1 apart all
# along, the average surface distance is 0.49 from the smaller (median 0) and 0.52
# from the larger. With a surface of the outermost pixels of each mask the averages
# are 1 and 1.01, and both medians 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'mask-stats==0.3.0' 'numpy==1.26.4' 'scipy==1.12.0' 'pandas==2.3.3' 'tqdm==4.70.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from mask_stats import mask_stats
import numpy as np
from scipy import ndimage

print('mask-stats', importlib.metadata.version('mask-stats'))
small, large = np.zeros((2, 60, 60), bool)
small[10:50, 10:50] = large[9:51, 9:51] = True
outermost = [mask & ~ndimage.binary_erosion(mask) for mask in (small, large)]
expected = []
for first, second in (outermost, outermost[::-1]):
  distances = ndimage.distance_transform_edt(~second)[first]
  expected += [float(np.median(distances)), round(float(distances.mean()), 2)]
tables = mask_stats.compute_evaluations_for_mask_pairs(
    [small], [large], show_progress=False)
seen = []
for table in tables:
  row = table['object_wise'].iloc[0]
  seen += [float(row['median_surface_distance']),
           round(float(row['average_surface_distance']), 2)]
print('median, average from the smaller and from the larger square:', seen)
print('of the outermost pixels:', expected)
assert expected == [1, 1, 1, 1.01]
assert seen[0] == 0 and (seen[1], seen[3]) == (0.49, 0.52), (
    'the behaviour has changed')
print('as stated: the average distances are about half as large')
PY
