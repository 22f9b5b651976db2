#!/usr/bin/env bash
# pynrrd 1.1.3 drops letters outside of ASCII from keys and values that it reads,
# and cannot write them. ITK and 3D Slicer write UTF-8. A segment called 'ü' has
# no name then, and two segments called '肝' and '脾' have the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'pynrrd==1.1.3' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import nrrd
import numpy as np
import SimpleITK

voxels = np.zeros((2, 3, 4), np.uint8)
image = SimpleITK.GetImageFromArray(voxels)
image.SetMetaData('Segment0_Name', '肝')
image.SetMetaData('Segment1_Name', 'Rückenmark')
SimpleITK.WriteImage(image, 'a.nrrd')
assert SimpleITK.ReadImage('a.nrrd').GetMetaData('Segment0_Name') == '肝'
header = nrrd.read_header('a.nrrd')
found = [header[f'Segment{i}_Name'] for i in (0, 1)]
try:
  nrrd.write('b.nrrd', voxels, {'Segment0_Name': '肝'})
  written = 'written'
except UnicodeEncodeError as e:
  written = f'UnicodeEncodeError: {e}'
print('pynrrd', nrrd.__version__)
print('read: ', found)
print('write:', written)
assert found == ['', 'Rckenmark'] and written != 'written', (
    'the behaviour has changed')
PY
