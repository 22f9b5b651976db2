#!/usr/bin/env bash
# highdicom 0.28.2 fills each frame of fewer than 8 pixels of a binary
# segmentation up to a whole byte; DICOM packs frames without gaps. It asks
# `rows * columns // 8 != 0` where it means `%`. The frames are read wrong then,
# by highdicom, too, and no error is raised. Frames of 8 pixels and
# more are right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'highdicom==0.28.2' 'pydicom==3.0.2' 'numpy==2.4.6'
"$work/venv/bin/python" - <<'PY'
import io
import warnings

import highdicom
from highdicom import seg
import numpy as np
import pydicom

warnings.simplefilter('ignore')
tissue = pydicom.sr.coding.Code('85756007', 'SCT', 'Tissue')


def is_right(rows, columns):
  slices = []
  for k in range(5):
    data = pydicom.Dataset()
    data.SOPClassUID = '1.2.840.10008.5.1.4.1.1.2'
    data.SOPInstanceUID, data.SeriesInstanceUID = f'1.2.3.{k}', '1.2.4'
    data.StudyInstanceUID, data.FrameOfReferenceUID = '1.2.5', '1.2.6'
    data.ImagePositionPatient = [0, 0, k]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [1, 1], 1
    data.Rows, data.Columns, data.Modality = rows, columns, 'CT'
    for name in ('PatientName', 'PatientID', 'PatientBirthDate', 'PatientSex',
                 'StudyDate', 'StudyTime', 'StudyID', 'AccessionNumber'):
      setattr(data, name, '')
    slices.append(data)
  masks = np.random.default_rng(0).integers(0, 2, (5, rows, columns), np.uint8)
  masks[:, 0, 0] = 1
  made = seg.Segmentation(
      slices, masks, 'BINARY', [seg.SegmentDescription(
          1, 'a', tissue, tissue, 'MANUAL')], '1.2.7', 1, '1.2.8', 1, 'x', 'x',
      '1', '0', content_label='A')
  stream = io.BytesIO()
  made.save_as(stream)
  stream.seek(0)
  found = seg.segread(stream).get_pixels_by_source_instance(
      [data.SOPInstanceUID for data in slices])
  return np.array_equal(found[..., 0], masks)


found = {size: is_right(*size) for size in (
    (2, 2), (2, 3), (1, 7), (2, 4), (3, 3))}
print('highdicom', highdicom.__version__)
for (rows, columns), right in found.items():
  print(f'{rows} x {columns}: {"right" if right else "wrong"}')
assert list(found.values()) == [False, False, False, True, True], (
    'the behaviour has changed')
PY
