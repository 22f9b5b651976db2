#!/usr/bin/env bash
# dicom-contour 2: DICOM's Pixel Spacing names the distance of the rows first,
# then that of the columns. The package takes the first for x. In an image with
# rows 1 mm apart and columns 2 mm apart, a contour around the rows and columns
# 4 to 12 gives a mask in the rows 3 to 5 and the columns 9 to 23: at another
# place and with another shape. With pixels that are squares, nothing is to be
# seen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dicom-contour==2' 'pydicom==2.4.4' 'numpy==2.4.6' 'matplotlib==3.10.8' 'scipy==1.17.1' 'pillow==12.0.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import os

from dicom_contour import to_numpy
import numpy as np
import pydicom
from pydicom import uid

SIDE = 32
frame, series, study, image = (uid.generate_uid() for _ in range(4))


def dataset(kind, modality, instance):
  """Returns a data set with what every DICOM file has."""
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = kind
  meta.MediaStorageSOPInstanceUID = instance
  data = pydicom.Dataset()
  data.file_meta, data.is_little_endian, data.is_implicit_VR = meta, True, False
  data.SOPClassUID, data.Modality, data.SOPInstanceUID = kind, modality, instance
  data.StudyInstanceUID, data.FrameOfReferenceUID = study, frame
  data.PatientName = data.PatientID = 'none'
  return data


def bounds(rows_apart, columns_apart):
  """Returns the first and the last row and column of the mask of a square."""
  data = dataset(uid.CTImageStorage, 'CT', image)
  data.SeriesInstanceUID, data.InstanceNumber = series, 1
  data.Rows = data.Columns = SIDE
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
  data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
  data.PixelRepresentation, data.SliceThickness = 1, '1'
  data.PixelSpacing = [rows_apart, columns_apart]
  data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
  data.ImagePositionPatient = [0, 0, 0]
  data.PixelData = np.zeros((SIDE, SIDE), np.int16).tobytes()
  data.save_as(f'ct/{image}.dcm', write_like_original=False)
  corners = [(4, 4), (4, 12), (12, 12), (12, 4)]
  contour, reference = pydicom.Dataset(), pydicom.Dataset()
  contour.ContourGeometricType, contour.NumberOfContourPoints = 'CLOSED_PLANAR', 4
  contour.ContourData = [place for row, column in corners for place in (
      column * columns_apart, row * rows_apart, 0)]
  reference.ReferencedSOPClassUID = uid.CTImageStorage
  reference.ReferencedSOPInstanceUID = image
  contour.ContourImageSequence = [reference]
  shape = pydicom.Dataset()
  shape.ReferencedROINumber, shape.ContourSequence = 1, [contour]
  data = dataset(uid.RTStructureSetStorage, 'RTSTRUCT', uid.generate_uid())
  data.SeriesInstanceUID = uid.generate_uid()
  data.ROIContourSequence = [shape]
  data.save_as('rt.dcm', write_like_original=False)
  _, mask = to_numpy.get_data('ct/', 'rt.dcm', 0)
  return [(int(k.min()), int(k.max())) for k in np.nonzero(mask[0])]


print('dicom-contour', importlib.metadata.version('dicom-contour'))
os.mkdir('ct')
seen = {spacing: bounds(*spacing) for spacing in ((1, 1), (1, 2))}
for spacing, (rows, columns) in seen.items():
  print(f'rows {spacing[0]} mm and columns {spacing[1]} mm apart: rows {rows[0]}',
        f'to {rows[1]}, columns {columns[0]} to {columns[1]}')
assert seen[1, 1][0] == seen[1, 1][1]
assert seen[1, 2] == [(3, 5), (9, 23)], 'the behaviour has changed'
print('as stated: the mask lies at another place')
PY
