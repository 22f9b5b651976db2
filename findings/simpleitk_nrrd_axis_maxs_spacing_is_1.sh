#!/usr/bin/env bash
# SimpleITK 2.5.7 reads an NRRD file whose header gives the grid by 'axis mins'
# and 'axis maxs' (the format's way for a volume without a place in a patient)
# with spacing 1, without a warning. It does use the right spacing for the
# origin, which lies half a voxel from the minimum. All volumes and distances
# are wrong.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'SimpleITK==2.5.7' 'numpy==2.4.6'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import SimpleITK

voxels = np.arange(24, dtype=np.int16)
head = 'NRRD0004\ntype: short\ndimension: 3\nsizes: 2 3 4\nendian: little\n'
head += 'encoding: raw\ncenterings: cell cell cell\naxis mins: 0 0 0\n'


def read(lines):
  with open('a.nrrd', 'wb') as file:
    file.write((head + lines + '\n\n').encode() + voxels.tobytes())
  image = SimpleITK.ReadImage('a.nrrd')
  return image.GetSpacing(), image.GetOrigin()


found = read('axis maxs: 4 6 12')
same = read('spacings: 2 2 3')
print('SimpleITK', SimpleITK.Version.VersionString(), '(spacing, origin)')
print('2 x 3 x 4 voxels from 0 to 4, 6, 12:', *found)
print('2 x 3 x 4 voxels of 2, 2, 3:        ', *same)
assert same == ((2, 2, 3), (1, 1, 1.5))
assert found == ((1, 1, 1), (1, 1, 1.5)), 'the behaviour has changed'
PY
