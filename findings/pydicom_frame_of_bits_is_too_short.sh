#!/usr/bin/env bash
# pydicom 3.0.2 cannot read a single frame of a segmentation if a frame is no
# whole number of bytes: the bits of a frame may begin within one byte and end
# in one byte more than ceil(bits / 8), but only so many bytes are taken. Frames
# of 181 x 217, the usual grid of MNI, fail from the second frame on; the whole
# array is right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pydicom==3.0.2' 'numpy==2.4.6'
"$work/venv/bin/python" - <<'PY'
import numpy as np
import pydicom
from pydicom import uid

masks = np.random.default_rng(0).integers(0, 2, (3, 217, 181), np.uint8)
data = pydicom.Dataset()
data.file_meta = pydicom.dataset.FileMetaDataset()
data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
data.NumberOfFrames, data.Rows, data.Columns = masks.shape
data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
data.BitsAllocated, data.BitsStored, data.HighBit = 1, 1, 0
data.PixelRepresentation = 0
content = np.packbits(masks.ravel(), bitorder='little').tobytes()
data.PixelData = content + b'\0' * (len(content) % 2)

assert np.array_equal(data.pixel_array, masks)
errors = []
for i, mask in enumerate(masks):
  try:
    assert np.array_equal(pydicom.pixels.pixel_array(data, index=i), mask)
  except ValueError as e:
    errors.append(f'frame {i}: ValueError: {e}')
print('pydicom', pydicom.__version__)
print('\n'.join(errors))
assert errors, 'the behaviour has changed'
PY
