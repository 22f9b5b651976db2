#!/usr/bin/env bash
# mammoinsight-math 0.1.1: refine_with_watershed is to separate objects that touch in a
# binary mask. It floods the mask from the middle of each object and returns all pixels
# that belong to any of the basins, which is the mask that was given. Of two discs that
# overlap it finds both, and gives back one object with the same pixels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'opencv-python-headless==5.0.0.93'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps 'mammoinsight-math==0.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import importlib.util

import numpy as np
from scipy import ndimage
from skimage import feature, segmentation


# The import of the whole package needs scikit-learn, requests and pandas, which it does not
# declare; the one module does not.
def load(name):
  place = importlib.metadata.distribution('mammoinsight-math').locate_file(f'mammo_math/{name}.py')
  spec = importlib.util.spec_from_file_location('module', place)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


print('mammoinsight-math', importlib.metadata.version('mammoinsight-math'))
watershed = load('segmentation/watershed')
assert 'Separa objetos conectados' in watershed.refine_with_watershed.__doc__, (
    'the documentation has changed')
rows, columns = np.ogrid[:64, :64]
mask = np.zeros((64, 64), np.uint8)
for column in (22, 42):
  mask[(rows - 32) ** 2 + (columns - column) ** 2 <= 12 ** 2] = 1
result = watershed.refine_with_watershed(mask)
distances = ndimage.distance_transform_edt(mask)
places = feature.peak_local_max(distances, min_distance=10, labels=mask)
markers = np.zeros(mask.shape, int)
markers[tuple(places.T)] = 1 + np.arange(len(places))
separated = segmentation.watershed(-distances, markers, mask=mask, watershed_line=True) > 0
objects = {name: ndimage.label(m)[1] for name, m in (
    ('given', mask), ('returned', result), ('with the line between the basins', separated))}
print('objects of the mask:', objects)
print('pixels that differ from the mask given:', int(((result > 0) != (mask > 0)).sum()))
assert objects['given'] == 1 and objects['with the line between the basins'] == 2
assert np.array_equal(result > 0, mask > 0), 'the behaviour has changed'
print('as stated: nothing is separated')
PY
