#!/usr/bin/env bash
# batchgenerators 0.25.5: ColorChannelToLastAxisTransform promises to bring a
# volume of the shape (b, c, x, y, z) to (b, x, y, z, c). It returns (b, z, x,
# y, c): the last spatial axis comes first, so that slices, spacings and flips
# belong to other axes than before. ConvertToChannelLastTransform of the same
# module, with the same purpose, keeps the order.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'batchgenerators==0.25.5' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata

from batchgenerators.transforms import utility_transforms
import numpy as np

print('batchgenerators', importlib.metadata.version('batchgenerators'))
color = utility_transforms.ColorChannelToLastAxisTransform
assert 'shape (b, c, x, y, z) -> shape (b, x, y, z, c)' in color.__doc__, (
    'the documentation has changed')
data = np.arange(120).reshape(1, 2, 3, 4, 5)
turned = color()(data=data, seg=data)['data']
sibling = utility_transforms.ConvertToChannelLastTransform(['data'])
moved = sibling(data=data)['data']
print('volume:', data.shape)
print('ColorChannelToLastAxisTransform:', turned.shape)
print('ConvertToChannelLastTransform:  ', moved.shape)
assert (moved == np.moveaxis(data, 1, -1)).all()
assert turned.shape == (1, 5, 3, 4, 2), 'the behaviour has changed'
print('as stated: the last spatial axis comes first')
PY
