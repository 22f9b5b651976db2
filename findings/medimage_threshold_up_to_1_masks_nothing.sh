#!/usr/bin/env bash
# medimage 1.0.7: tomask_atthreshold writes the ones of the voxels below the
# threshold into the image, and then sets all that reach the threshold to 0, with
# them the ones just written where the threshold is 1 or less. Of 24 voxels with
# values from 0 to 1, of which 12 are below 0.5, the mask at 0.5 marks none; of the
# same values times 100, the mask at 50 marks 12. invert=False is right for both.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'medimage==1.0.7' 'numpy==1.26.4' 'scipy==1.12.0' 'pydicom==3.0.2'
cd "$work"
"$work/venv/bin/python" - 2>warnings.txt <<'PY' || { cat warnings.txt; exit 1; }
import importlib.metadata
import pathlib

import medimage
import numpy as np

print('medimage', importlib.metadata.version('medimage'))
values = np.linspace(0, 1, 24, dtype='<f4').reshape(2, 3, 4)
values.tofile('image.raw')
pathlib.Path('image.mhd').write_text('\n'.join([
    'ObjectType = Image', 'NDims = 3', 'BinaryData = True',
    'BinaryDataByteOrderMSB = False', 'CompressedData = False',
    'Offset = 0 0 0', 'ElementSpacing = 1 1 1', 'DimSize = 4 3 2',
    'ElementType = MET_FLOAT', 'ElementDataFile = image.raw', '']))
seen = {}
for factor in (1, 100):
  for invert in (True, False):
    image = medimage.image('image.mhd')
    assert np.array_equal(image.imdata, values.transpose())
    image.mul(factor)
    image.tomask_atthreshold(0.5 * factor, invert=invert)
    seen[factor, invert] = int(image.imdata.sum())
    print(f'values up to {factor}, threshold {0.5 * factor}, invert {invert}: '
          f'{seen[factor, invert]} of 24 voxels are 1')
assert (values < 0.5).sum() == seen[100, True] == 12
assert seen[1, False] == seen[100, False] == 12
assert seen[1, True] == 0, 'the behaviour has changed'
print('as stated: no voxel is masked at a threshold of 0.5')
PY
