#!/usr/bin/env bash
# medpy 0.5.2: resample writes the asked-for spacing to the header, but lays its
# samples from the first voxel's centre to the last one's. Ten voxels 1 mm
# apart, brought to 2 mm, become five voxels 2.25 mm apart, with a header that
# says 2 mm: the last of them shows what lies at 9 mm and is taken to be at
# 8 mm. Distances measured in the result are 11 % too short.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'medpy==0.5.2' 'numpy==2.4.6' 'scipy==1.17.1' 'simpleitk==2.5.7'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from medpy import io
from medpy.filter import image
import numpy as np

print('medpy', importlib.metadata.version('medpy'))
header = io.Header(spacing=(1., 1., 1.))
places = np.broadcast_to(np.arange(10.)[:, None, None], (10, 10, 10))
result, header = image.resample(places, header, 2, bspline_order=1,
                                mode='nearest')
spacing = header.get_voxel_spacing()[0]
shown = result[:, 0, 0].round(6).tolist()
said = [k * spacing for k in range(len(shown))]
print('spacing in the header:', spacing)
print('places in mm that the voxels show:', shown)
print('places in mm by the header:       ', said)
assert said == [0, 2, 4, 6, 8]
assert shown == [0, 2.25, 4.5, 6.75, 9], 'the behaviour has changed'
print('as stated: the voxels are 2.25 mm apart')
PY
