#!/usr/bin/env bash
# rt-utils 1.2.7 with use_pin_hole=True, which is meant for regions with holes,
# changes such a region on the way to the file and back: a hole of one pixel
# takes 12 more with it. Without the option the same mask comes back exactly.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'rt-utils==1.2.7' 'pydicom==3.0.2' 'numpy==2.4.6' 'opencv-python==5.0.0.93'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging
import os

import numpy as np
import pydicom
from pydicom import uid
import rt_utils

logging.disable(logging.CRITICAL)


def write_series(folder, rows, columns):
  os.makedirs(folder)
  study, series, frame = (uid.generate_uid() for _ in range(3))
  for k in range(3):
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data = pydicom.Dataset()
    data.file_meta = meta
    data.SOPClassUID = meta.MediaStorageSOPClassUID
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.FrameOfReferenceUID, data.Modality = frame, 'CT'
    data.PatientID = data.PatientName = 'none'
    for name in ('StudyDate', 'StudyTime', 'StudyID', 'PatientBirthDate',
                 'PatientSex', 'AccessionNumber', 'ReferringPhysicianName'):
      setattr(data, name, '')
    data.InstanceNumber, data.SeriesNumber = k + 1, 1
    data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, 1
    data.PhotometricInterpretation = 'MONOCHROME2'
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = 1
    data.PixelSpacing, data.SliceThickness = ['1', '1'], '2'
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [0, 0, 2 * k]
    data.PixelData = np.zeros((rows, columns), np.int16).tobytes()
    pydicom.dcmwrite(f'{folder}/{k}.dcm', data, enforce_file_format=True)


def there_and_back(folder, mask, **options):
  structures = rt_utils.RTStructBuilder.create_new(folder)
  structures.add_roi(mask=mask, name='roi', **options)
  structures.save('rt.dcm')
  return rt_utils.RTStructBuilder.create_from(
      folder, 'rt.dcm').get_roi_mask_by_name('roi')


write_series('series', rows=32, columns=32)
mask = np.zeros((32, 32, 3), bool)
mask[5:15, 5:20, 1] = True
mask[8, 9, 1] = False
plain = there_and_back('series', mask)
pinned = there_and_back('series', mask, use_pin_hole=True)
print('rt-utils 1.2.7: mask with a hole of 1 pixel,', mask.sum(), 'voxels')
print('read back:                   ', plain.sum(), 'voxels')
print('read back, use_pin_hole=True:', pinned.sum(), 'voxels')
assert (plain == mask).all()
assert pinned.sum() == 137 and not (pinned & ~mask).any(), (
    'the behaviour has changed')
PY
