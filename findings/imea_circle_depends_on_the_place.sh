#!/usr/bin/env bash
# imea 0.3.5: the circumscribing and the inscribing circle of an object, two of
# its "2D rotation and translation invariant" shape measurements, take the
# centroid in the whole image and the contour in the part that is cut out around
# the object. A disc 21 pixels wide gets a circumscribing diameter of 25.6 at
# one place of the image and of 161.2 at another. The other 51 measurements are
# the same at both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'imea==0.3.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0' 'opencv-python==5.0.0.93' 'pandas==3.1.1'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import warnings

import imea
import numpy as np

warnings.simplefilter('ignore')
print('imea', importlib.metadata.version('imea'))
doc = imea.extract._shape_measurements_2d_single_object.__doc__
assert '2D rotation and translation invariant shape measurements' in doc, (
    'the documentation has changed')
rows, columns = np.ogrid[:80, :80]
first, second = (imea.extract.shape_measurements_2d(
    (rows - place) ** 2 + (columns - place) ** 2 <= 10 ** 2, 1.).iloc[0]
                 for place in (12, 60))
differing = [name for name in first.index if not np.isclose(
    first[name], second[name])]
print('measurements:', len(first), '- equal at both places:',
      len(first) - len(differing))
for name in ('diameter_min_enclosing_circle', *differing):
  print(f'{name}: {first[name]:.1f} near the corner, {second[name]:.1f} elsewhere')
assert differing == ['diameter_circumscribing_circle',
                     'diameter_inscribing_circle'], 'the behaviour has changed'
assert second['diameter_circumscribing_circle'] > 160
print('as stated: the diameter of the circle depends on the place')
PY
