#!/usr/bin/env bash
# dcmrtstruct2nii 5: the values of the background and the foreground of a mask
# may be anything from 0 to 255. With any background but 0, a slice with a
# contour is inverted: with 1 for the background and 2 for the foreground, the
# 49 voxels of a square get 1 and the 351 around it 2. With 0 and 1, the same
# file is right. Slices without a contour stay background, so that the organ
# becomes a hole in a slab.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'dcmrtstruct2nii==5' 'pydicom==2.4.4' 'simpleitk==2.5.7' 'numpy==2.4.6' 'scipy==1.17.1' 'scikit-image==0.26.0'
cd "$work"
"$work/venv/bin/python" - <<'PY'
import importlib.metadata
import os

import dcmrtstruct2nii
import numpy as np
import pydicom
from pydicom import uid
import SimpleITK as sitk

SIDE, SLICES = 20, 3
frame, series, study = (uid.generate_uid() for _ in range(3))


def dataset(kind, modality):
  """Returns a data set with what every DICOM file has."""
  meta = pydicom.dataset.FileMetaDataset()
  meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  meta.MediaStorageSOPClassUID = kind
  meta.MediaStorageSOPInstanceUID = uid.generate_uid()
  data = pydicom.Dataset()
  data.file_meta, data.is_little_endian, data.is_implicit_VR = meta, True, False
  data.SOPClassUID, data.Modality = kind, modality
  data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
  data.StudyInstanceUID, data.FrameOfReferenceUID = study, frame
  data.PatientName = data.PatientID = 'none'
  return data


os.mkdir('ct')
for k in range(SLICES):
  data = dataset(uid.CTImageStorage, 'CT')
  data.SeriesInstanceUID, data.InstanceNumber = series, k + 1
  data.Rows = data.Columns = SIDE
  data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
  data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
  data.PixelRepresentation = 1
  data.PixelSpacing, data.SliceThickness = ['1', '1'], '1'
  data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
  data.ImagePositionPatient = [0, 0, k]
  data.PixelData = np.zeros((SIDE, SIDE), np.int16).tobytes()
  data.save_as(f'ct/{k}.dcm', write_like_original=False)
contour = pydicom.Dataset()
contour.ContourGeometricType, contour.NumberOfContourPoints = 'CLOSED_PLANAR', 4
contour.ContourData = [4, 4, 1, 10, 4, 1, 10, 10, 1, 4, 10, 1]
name, shape = pydicom.Dataset(), pydicom.Dataset()
name.ROINumber = shape.ReferencedROINumber = 1
name.ROIName, name.ReferencedFrameOfReferenceUID = 'organ', frame
shape.ContourSequence = [contour]
data = dataset(uid.RTStructureSetStorage, 'RTSTRUCT')
data.SeriesInstanceUID = uid.generate_uid()
data.StructureSetROISequence, data.ROIContourSequence = [name], [shape]
data.save_as('rt.dcm', write_like_original=False)


def voxels(background, foreground):
  """Returns the numbers of voxels of either value in the slice."""
  dcmrtstruct2nii.dcmrtstruct2nii(
      'rt.dcm', 'ct', 'out', mask_background_value=background,
      mask_foreground_value=foreground, convert_original_dicom=False)
  mask = sitk.GetArrayFromImage(sitk.ReadImage('out/mask_organ.nii.gz'))
  assert (mask[[0, 2]] == background).all()
  return [int((mask[1] == value).sum()) for value in (background, foreground)]


print('dcmrtstruct2nii', importlib.metadata.version('dcmrtstruct2nii'))
seen = {values: voxels(*values) for values in ((0, 1), (0, 255), (1, 2))}
for values, numbers in seen.items():
  print(f'background {values[0]}, foreground {values[1]}: {numbers[0]} voxels',
        f'of the background and {numbers[1]} of the organ')
assert seen[0, 1] == seen[0, 255] == [351, 49]
assert seen[1, 2] == [49, 351], 'the behaviour has changed'
print('as stated: with a background of 1, the mask is inverted')
PY
