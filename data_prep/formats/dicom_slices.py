"""Reads single slices of DICOM files: their place in the patient, their values.

Only the tags below are used. UIDs tell which files belong together; they reach
no message, file or record.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np
import pydicom

from data_prep.formats import dicom
from data_prep.shared import pixels

_PLACE_TAGS = (
    *dicom.CLASS_TAGS, 'SeriesInstanceUID', 'SOPInstanceUID',
    'FrameOfReferenceUID',
    'ImagePositionPatient', 'ImageOrientationPatient', 'PixelSpacing', 'Rows',
    'Columns', 'NumberOfFrames', 'BitsAllocated', 'PixelRepresentation',
    'RescaleSlope', 'RescaleIntercept', 'PhotometricInterpretation')
FRAME_TAGS = (
    'SharedFunctionalGroupsSequence', 'PerFrameFunctionalGroupsSequence')
LPS = np.array([-1.0, -1.0, 1.0])


class Plane(NamedTuple):
  """One slice.

  Attributes:
    path: path of its file, relative to the source.
    frame: number of the frame in the file, from 0.
    series: UID of its series.
    reference: UID of the frame of reference, or ''.
    instance: UID of the file.
    size: number of rows and columns.
    axes: unit vectors along which the row number and the column number grow,
      [2, 3], in LPS.
    spacing: distances between rows and between columns, in mm.
    position: centre of the first pixel in mm, in LPS.
    scale: slope and intercept.
    dtype: type of the rescaled values.
    itemsize: number of bytes of a stored value.
  """

  path: str
  frame: int
  series: str
  reference: str
  instance: str
  size: tuple[int, int]
  axes: np.ndarray
  spacing: tuple[float, float]
  position: np.ndarray
  scale: tuple[float, float]
  dtype: np.dtype
  itemsize: int


def vector(values: Any, length: int) -> np.ndarray:
  """Returns the numbers of a tag; raises ValueError if they are malformed."""
  found = np.array([float(v) for v in values], np.float64)
  if found.shape != (length,) or not np.isfinite(found).all() or (
      np.abs(found).max() > 1e7):
    raise ValueError('malformed numbers')
  return found


def unit_axes(orientation: Any) -> np.ndarray:
  """Returns the directions of rows and columns, [2, 3].

  Args:
    orientation: the tag ImageOrientationPatient. Its first vector is the
      direction of a row, along which the column number grows.

  Raises:
    ValueError: if the vectors are not perpendicular.
  """
  along_row, along_column = vector(orientation, 6).reshape(2, 3)
  lengths = np.linalg.norm([along_column, along_row], axis=1)
  if (np.abs(lengths - 1) > 0.01).any() or abs(
      along_row @ along_column) > 0.01:
    raise ValueError('directions are not perpendicular')
  return np.stack([along_column, along_row]) / lengths[:, None]


def groups_of(dataset: pydicom.Dataset, frame: int, name: str) -> Any:
  """Returns the first item of a functional group of a frame, or None.

  Args:
    dataset: the parsed file.
    frame: number of the frame, from 0.
    name: keyword of the sequence, such as 'PlanePositionSequence'.
  """
  own = dataset.get('PerFrameFunctionalGroupsSequence') or ()
  shared = dataset.get('SharedFunctionalGroupsSequence') or ()
  for item in (*own[frame : frame + 1], *shared[:1]):
    found = item.get(name)
    if found:
      return found[0]
  return None


def read_planes(source: pathlib.Path, path: str) -> list[Plane]:
  """Returns the slices of a file; [] if they have no place in the patient.

  Args:
    source: folder of the source.
    path: path of the file, relative to it.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  return planes_of(parse_place(source / path), path)


def parse_place(path: pathlib.Path) -> pydicom.Dataset:
  """Parses the tags of a file that say what it is and where its slices are.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  return dicom.parse(path, (*_PLACE_TAGS, *FRAME_TAGS))


def planes_of(data: pydicom.Dataset, path: str) -> list[Plane]:
  """Returns the slices of a file, see `read_planes`.

  Args:
    data: the tags from `parse_place`.
    path: path of the file, relative to the source.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  number = int(data.get('NumberOfFrames') or 1)
  is_framed = bool(data.get('PerFrameFunctionalGroupsSequence'))
  if number > 1 and not is_framed:
    return []
  if is_framed and number != len(data.PerFrameFunctionalGroupsSequence):
    raise pixels.WrongFile(
        'frames and their positions differ in number', pixels.tail(path),
        'export it again')
  planes = []
  for frame in range(number):
    found = _geometry(data, frame if is_framed else None)
    if found is None:
      return []
    planes.append(_make_plane(data, path, frame, *found))
  return planes


def _geometry(data, frame):
  """Returns position, orientation, spacing and scale of a slice, or None."""
  if frame is None:
    found = [data.get(n) for n in (
        'ImagePositionPatient', 'ImageOrientationPatient', 'PixelSpacing')]
    scale = data
  else:
    group = lambda name: groups_of(data, frame, name) or {}
    found = [group('PlanePositionSequence').get('ImagePositionPatient'),
             group('PlaneOrientationSequence').get('ImageOrientationPatient'),
             group('PixelMeasuresSequence').get('PixelSpacing')]
    scale = group('PixelValueTransformationSequence')
  if not all(found):
    return None
  return *found, dicom.scale_of(scale)


def _make_plane(data, path, frame, position, orientation, spacing, scale):
  spacing = tuple(vector(spacing, 2).tolist())
  if min(spacing) <= 0:
    raise pixels.WrongFile(
        'a spacing is not above 0', pixels.tail(path), 'correct PixelSpacing')
  dicom.check_scale(*scale, pixels.tail(path))
  itemsize = int(data.BitsAllocated) // 8
  sign = 'i' if int(data.get('PixelRepresentation') or 0) else 'u'
  stored = np.dtype(f'{sign}{itemsize}')
  is_scaled = scale != (1.0, 0.0) or (
      data.get('PhotometricInterpretation') == 'MONOCHROME1')
  text = lambda name: str(data.get(name) or '')
  return Plane(
      path, frame, text('SeriesInstanceUID'), text('FrameOfReferenceUID'),
      text('SOPInstanceUID'), (int(data.Rows), int(data.Columns)),
      unit_axes(orientation), spacing, vector(position, 3), scale,
      np.dtype(np.float32) if is_scaled else stored, itemsize)


def rescaled(
    plane: Plane, frames: np.ndarray, is_inverted: bool
) -> np.ndarray:
  """Returns the values of a slice, [rows, columns]; bright ones are large.

  Args:
    plane: the slice.
    frames: stored values of all frames of its file, from `read_frames`.
    is_inverted: whether bright pixels have small stored values.
  """
  if frames.shape[1:] != plane.size or plane.frame >= len(frames):
    raise pixels.WrongFile(
        'the pixels are not as many as the header says',
        pixels.tail(plane.path), 'export it again')
  array = frames[plane.frame]
  slope, intercept = plane.scale
  if plane.scale != (1.0, 0.0):
    array = array * np.float32(slope) + np.float32(intercept)
  return -array.astype(np.float32) if is_inverted else array


def read_frames(path: pathlib.Path) -> tuple[np.ndarray, bool]:
  """Reads the stored values of all frames of a file.

  Returns:
    Values, [F, rows, columns]; and whether bright pixels have small values.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown = pixels.tail(path.name)
  with dicom.explaining(shown):
    data = dicom.parse(path, dicom.DICOM_TAGS, with_pixels=True)
    dicom.check_dicom(data, shown, may_have_frames=True)
    array = data.pixel_array
    if str(data.PhotometricInterpretation) == 'RGB':
      raise pixels.WrongFile(
          'slices in colour are no volume', shown, '--format=folder reads them')
    return array.reshape(-1, *array.shape[-2:]), (
        str(data.PhotometricInterpretation) == 'MONOCHROME1')
