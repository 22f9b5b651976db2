#!/usr/bin/env bash
# pynrrd 1.1.3 does not escape values. The NRRD format writes a line break in a
# value as a backslash and an n, and a backslash as two; ITK and 3D Slicer do
# so. A value with a line break, written by pynrrd, makes a file that pynrrd
# itself cannot read; 'D:\new' written by pynrrd has a line break when ITK reads
# it, and one by ITK has two backslashes in pynrrd. Names of segments pass this
# way.
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
nrrd.write('a.nrrd', voxels, {'source': 'D:\\new'})
in_itk = SimpleITK.ReadImage('a.nrrd').GetMetaData('source')
image = SimpleITK.GetImageFromArray(voxels)
image.SetMetaData('source', 'D:\\new')
SimpleITK.WriteImage(image, 'b.nrrd')
assert SimpleITK.ReadImage('b.nrrd').GetMetaData('source') == 'D:\\new'
in_pynrrd = nrrd.read_header('b.nrrd')['source']
nrrd.write('c.nrrd', voxels, {'note': 'line 1\nline 2'})
try:
  again = nrrd.read_header('c.nrrd')['note']
except ValueError as e:
  again = f'ValueError: {e}'
print('pynrrd', nrrd.__version__)
print('pynrrd -> ITK:   ', repr(in_itk))
print('ITK -> pynrrd:   ', repr(in_pynrrd))
print('pynrrd -> pynrrd:', repr(again))
assert in_itk == 'D:\new' and in_pynrrd == 'D:\\\\new'
assert again.startswith('ValueError'), 'the behaviour has changed'
PY
