"""Writes DICOM slices, segmentations and structure sets by hand.

Each file also has tags with `MARK`, which must never leave it.
"""

from collections.abc import Sequence
import io

import numpy as np
import pydicom
from pydicom import uid

MARK = 'ZZMARKZZ'
ALONG_ROW, ALONG_COLUMN = (1, 0, 0), (0, 1, 0)
SERIES, FRAME = '1.2.826.0.1.3680043.2.1125.7', '1.2.826.0.1.3680043.2.1125.8'

_SEG = '1.2.840.10008.5.1.4.1.1.66.4'
_LABELMAP = '1.2.840.10008.5.1.4.1.1.66.7'
_RTSTRUCT = '1.2.840.10008.5.1.4.1.1.481.3'
_CT = '1.2.840.10008.5.1.4.1.1.2'
_ENHANCED = '1.2.840.10008.5.1.4.1.1.2.1'


def _item(**tags):
  data = pydicom.Dataset()
  for name, value in tags.items():
    setattr(data, name, value)
  return data


def _dataset(class_uid, instance, *, patient='1', series=SERIES, **tags):
  """Returns a dataset with the tags of a patient, all of which have `MARK`."""
  data = _item(
      SOPClassUID=class_uid, SOPInstanceUID=f'{series}.{instance}',
      SeriesInstanceUID=series, StudyInstanceUID=f'{series}.0',
      FrameOfReferenceUID=FRAME,
      PatientName=f'{MARK}^A', PatientID=f'{MARK}{patient}',
      PatientBirthDate=MARK, StudyDate=MARK, InstitutionName=MARK,
      SeriesDescription=MARK, OperatorsName=MARK, ContentCreatorName=MARK,
      ContentLabel=MARK, ContentDescription=MARK, AccessionNumber=MARK,
      StructureSetLabel=MARK, StructureSetDate=MARK, StudyDescription=MARK,
      ReferringPhysicianName=MARK, ImageComments=MARK, DeviceSerialNumber=MARK,
      RequestAttributesSequence=[_item(ScheduledProcedureStepID=MARK)], **tags)
  data.file_meta = pydicom.dataset.FileMetaDataset()
  data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
  data.file_meta.MediaStorageSOPClassUID = class_uid
  data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
  return data


def content(data: pydicom.Dataset) -> bytes:
  """Returns the content of a file."""
  stream = io.BytesIO()
  pydicom.dcmwrite(stream, data, enforce_file_format=True)
  return stream.getvalue()


def ct_slice(
    array: np.ndarray,
    position: Sequence[float],
    *,
    instance: int = 1,
    orientation: Sequence[float] = (*ALONG_ROW, *ALONG_COLUMN),
    spacing: Sequence[float] = (1, 1),
    **tags,
) -> pydicom.Dataset:
  """Returns a slice of a series.

  Args:
    array: stored values, int [rows, columns].
    position: centre of the first pixel, in mm (LPS).
    instance: number of the file.
    orientation: direction of a row and of a column.
    spacing: distance between rows, and between columns.
    **tags: further tags.
  """
  return _dataset(
      _CT, instance, **{
          'Modality': 'CT', 'ImagePositionPatient': [*map(float, position)],
          'ImageOrientationPatient': [*map(float, orientation)],
          'PixelSpacing': [*map(float, spacing)], **_pixels(array),
          'InstanceNumber': 99 - instance, 'SliceThickness': 7.0, **tags})


def _pixels(array):
  return dict(
      Rows=array.shape[-2], Columns=array.shape[-1], SamplesPerPixel=1,
      PhotometricInterpretation='MONOCHROME2', BitsAllocated=16, BitsStored=16,
      HighBit=15, PixelRepresentation=1,
      PixelData=array.astype('<i2').tobytes())


def series(array: np.ndarray, step: float = 2.0, **tags) -> dict[str, bytes]:
  """Returns the files of a series, named against the order of its slices.

  Args:
    array: stored values, [slices, rows, columns].
    step: distance of slices in mm.
    **tags: further tags.
  """
  number = len(array)
  return {f's{number - k:02d}.dcm': content(ct_slice(
      plane, (10, 20, -30 + step * k), instance=k + 1, **tags))
          for k, plane in enumerate(array)}


def _groups(positions, segments=None):
  frames = []
  for i, position in enumerate(positions):
    frame = _item(
        PlanePositionSequence=[_item(
            ImagePositionPatient=[*map(float, position)])],
        FrameContentSequence=[_item(FrameComments=MARK)])
    if segments is not None:
      frame.SegmentIdentificationSequence = [
          _item(ReferencedSegmentNumber=segments[i])]
    frames.append(frame)
  return frames


def _shared(spacing, orientation):
  return _item(
      PixelMeasuresSequence=[_item(PixelSpacing=[*map(float, spacing)])],
      PlaneOrientationSequence=[_item(
          ImageOrientationPatient=[*map(float, orientation)])])


def multi_frame(
    array: np.ndarray,
    positions: Sequence[Sequence[float]],
    *,
    orientation: Sequence[float] = (*ALONG_ROW, *ALONG_COLUMN),
    spacing: Sequence[float] = (1, 1),
    scale: tuple[float, float] = (2.0, -100.0),
    **tags,
) -> pydicom.Dataset:
  """Returns an enhanced CT; arguments are those of `ct_slice`."""
  shared = _shared(spacing, orientation)
  shared.PixelValueTransformationSequence = [
      _item(RescaleSlope=scale[0], RescaleIntercept=scale[1])]
  return _dataset(_ENHANCED, 50, **{
      'Modality': 'CT', 'NumberOfFrames': len(array),
      'PerFrameFunctionalGroupsSequence': _groups(positions),
      'SharedFunctionalGroupsSequence': [shared], **_pixels(array), **tags})


def seg(
    frames: np.ndarray,
    positions: Sequence[Sequence[float]],
    segments: Sequence[int] | None,
    *,
    names: dict[int, str],
    form: str = 'BINARY',
    orientation: Sequence[float] = (*ALONG_ROW, *ALONG_COLUMN),
    spacing: Sequence[float] = (1, 1),
    drawn_on: str = SERIES,
    **tags,
) -> pydicom.Dataset:
  """Returns a segmentation object.

  Args:
    frames: stored values, [F, rows, columns].
    positions: position of each frame, in mm (LPS).
    segments: number of the segment of each frame; None for a label map.
    names: name of each segment by its number.
    form: BINARY, FRACTIONAL or LABELMAP.
    orientation: direction of a row and of a column.
    spacing: distance between rows, and between columns.
    drawn_on: UID of the series that it was drawn on.
    **tags: further tags.
  """
  if form == 'BINARY':
    stored = np.packbits(frames.astype(np.uint8).ravel(), bitorder='little')
  else:
    stored = frames.astype(np.uint8).ravel()
  stored = stored.tobytes() + b'\0' * (stored.size % 2)
  bits = 1 if form == 'BINARY' else 8
  return _dataset(_LABELMAP if form == 'LABELMAP' else _SEG, 60, **{
      'Modality': 'SEG', 'SegmentationType': form,
      'NumberOfFrames': len(frames), 'Rows': frames.shape[1],
      'Columns': frames.shape[2], 'SamplesPerPixel': 1,
      'PhotometricInterpretation': 'MONOCHROME2', 'BitsAllocated': bits,
      'BitsStored': bits, 'HighBit': bits - 1, 'PixelRepresentation': 0,
      'MaximumFractionalValue': 255, 'PixelData': stored,
      'PerFrameFunctionalGroupsSequence': _groups(positions, segments),
      'SharedFunctionalGroupsSequence': [_shared(spacing, orientation)],
      'SegmentSequence': [_item(
          SegmentNumber=number, SegmentLabel=name, SegmentDescription=MARK,
          TrackingID=MARK) for number, name in names.items()],
      'ReferencedSeriesSequence': [_item(SeriesInstanceUID=drawn_on)],
      **tags})


def rtstruct(
    structures: dict[str, list[np.ndarray]],
    *,
    kind: str = 'CLOSED_PLANAR',
    drawn_on: str = SERIES,
    **tags,
) -> pydicom.Dataset:
  """Returns a structure set.

  Args:
    structures: the contours of each structure by its name, [N, 3] each, in mm
      (LPS).
    kind: the type of the contours.
    drawn_on: UID of the series that it was drawn on.
    **tags: further tags.
  """
  return _dataset(_RTSTRUCT, 70, **{
      'Modality': 'RTSTRUCT',
      'StructureSetROISequence': [_item(
          ROINumber=i, ROIName=name, ROIDescription=MARK)
                                  for i, name in enumerate(structures)],
      'ROIContourSequence': [_item(
          ReferencedROINumber=i, ContourSequence=[_item(
              ContourGeometricType=kind, NumberOfContourPoints=len(points),
              ContourData=np.ravel(points).tolist()) for points in contours])
                             for i, contours in enumerate(structures.values())],
      'ReferencedFrameOfReferenceSequence': [_item(
          FrameOfReferenceUID=FRAME, RTReferencedStudySequence=[_item(
              RTReferencedSeriesSequence=[_item(
                  SeriesInstanceUID=drawn_on)])])], **tags})
