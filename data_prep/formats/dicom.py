"""Reads DICOM pictures, whose headers are checked before the pixels.

To protect patients, only `DICOM_TAGS` are parsed, and only pixels and spacing
are returned. There is one exception: since no split may divide the pictures of
a patient, `Patients` reads the patient id, but returns only a number in its
place, which reveals nothing.
"""

import contextlib
import logging
import os
import pathlib
import warnings

import numpy as np
import pydicom

from data_prep.shared import pixels

MAX_BYTES = 2**28

DICOM_TAGS = (
    'SOPClassUID', 'Modality',
    'Rows', 'Columns', 'NumberOfFrames', 'SamplesPerPixel',
    'PhotometricInterpretation', 'PlanarConfiguration', 'BitsAllocated',
    'BitsStored', 'HighBit', 'PixelRepresentation', 'PixelSpacing',
    'ImagerPixelSpacing', 'RescaleSlope', 'RescaleIntercept', 'PixelData',
)

# What `object_name_of` needs.
CLASS_TAGS = ('SOPClassUID', 'Modality')

_STORAGE = '1.2.840.10008.5.1.4.1.1.'
_DIRECTORY = '1.2.840.10008.1.3.10'
# Maps the start of a class UID, after _STORAGE, to the type of a file without a
# picture. None marks types of pictures: 481.1, for example, begins like 481.
_OBJECTS = {
    '66.4': 'SEG', '66.7': 'SEG', '66.5': 'SEG', '481.3': 'RTSTRUCT',
    '481.2': 'RTDOSE', '481': 'RTPLAN', '481.1': None, '481.23': None,
    '481.24': None, '11': 'PR', '88.59': 'KO', '88': 'SR', '91.1': 'ANN',
    '66': 'REG', '67': 'RWV', '68': 'M3D', '104': 'DOC', '9': 'ECG',
    '4.2': 'MRS', '10': 'LUT', '131': 'DISPLAY', '200': 'PROTOCOL'}
# Maps the value of Modality to the type of a file without a picture. This is
# used if a file names no class UID.
_MODALITIES = {
    'SEG': 'SEG', 'RTSTRUCT': 'RTSTRUCT', 'RTDOSE': 'RTDOSE',
    'RTPLAN': 'RTPLAN', 'RTRECORD': 'RTPLAN', 'PR': 'PR', 'KO': 'KO',
    'SR': 'SR', 'ANN': 'ANN', 'REG': 'REG', 'FID': 'REG', 'RWV': 'RWV',
    'M3D': 'M3D', 'DOC': 'DOC', 'ECG': 'ECG'}
READ_BY = {'SEG': '--format=dicom_seg', 'RTSTRUCT': '--format=rtstruct'}
_LABELS = {
    'SEG': 'a DICOM segmentation object (SEG), not a picture',
    'RTSTRUCT': 'a DICOM structure set (RTSTRUCT), not a picture'}

# Warnings of pydicom quote values, which may identify a patient.
logging.getLogger('pydicom').setLevel(logging.CRITICAL)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


class Patients:
  """Numbers the patients of DICOM files in the order of first appearance."""

  def __init__(self):
    self._numbers = {}

  def number_of(self, path: pathlib.Path) -> int | None:
    """Returns the number of a file's patient; None if the file names none."""
    try:
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        header = pydicom.dcmread(
            path, specific_tags=['PatientID'], stop_before_pixels=True)
        key = str(header.get('PatientID') or '')
    except Exception:  # `read_dicom` reports what is wrong with the file.
      return None
    return self._numbers.setdefault(key, len(self._numbers)) if key else None


def is_dicom(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file has the signature of DICOM."""
  return pixels.head(path, 132)[128:] == b'DICM'


def class_uids(name: str) -> list[bytes]:
  """Returns the class UIDs of files without a picture, such as 'SEG'.

  Args:
    name: a type as `object_name` returns it.
  """
  return [f'{_STORAGE}{end}'.encode() for end, found in _OBJECTS.items()
          if found == name]


def object_name(path: str | os.PathLike[str]) -> str | None:
  """Returns the type of a DICOM file without a picture, such as 'SEG'.

  Only the tags that hold the class of the file are read. The result is a word
  that this module defines, never a string from the file.

  Returns:
    The type; None if the file is a picture, is not DICOM, or cannot be read.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      if not is_dicom(path):
        return None
      meta = pydicom.filereader.read_file_meta_info(path)
      if meta.get('MediaStorageSOPClassUID'):
        return _name_of(meta.MediaStorageSOPClassUID, '')
      return object_name_of(pydicom.dcmread(
          path, specific_tags=list(CLASS_TAGS), stop_before_pixels=True))
  except Exception:  # `read_dicom` reports what is wrong with the file.
    return None


def object_name_of(dataset: pydicom.Dataset) -> str | None:
  """Returns the type of a parsed file, as `object_name` does.

  Args:
    dataset: the parsed file, with `CLASS_TAGS`.
  """
  stored = dataset.file_meta.get('MediaStorageSOPClassUID')
  return _name_of(stored, '') if stored else _name_of(
      dataset.get('SOPClassUID'), dataset.get('Modality'))


def _name_of(class_uid, modality):
  uid = str(class_uid or '')
  if uid == _DIRECTORY:
    return 'DICOMDIR'
  if uid.startswith(_STORAGE):
    parts = uid[len(_STORAGE):].split('.')
    for key in ('.'.join(parts[:2]), parts[0]):
      if key in _OBJECTS:
        return _OBJECTS[key]
    return None
  return _MODALITIES.get(str(modality or ''))


@contextlib.contextmanager
def explaining(shown: str):
  """Turns any error into a `WrongFile` that quotes nothing of the file.

  Args:
    shown: name of the file.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  except pixels.WrongFile:
    raise
  except Exception as error:  # Its message may quote patient data.
    raise pixels.WrongFile(
        f'the DICOM cannot be read: {type(error).__name__}', shown,
        'export it again, uncompressed') from None


def parse(
    path: pathlib.Path, tags: tuple[str, ...], *, with_pixels: bool = False
) -> pydicom.Dataset:
  """Parses some tags of a file, and no others.

  Args:
    path: the file.
    tags: keywords of the tags; a sequence is parsed with all that it holds.
    with_pixels: whether tags behind the pixels, and the pixels, are parsed.

  Raises:
    pixels.WrongFile: if the file is no DICOM or too large.
  """
  shown = pixels.tail(path.name)
  with explaining(shown):
    _check_file(path, shown)
    return pydicom.dcmread(
        path, specific_tags=list(tags), stop_before_pixels=not with_pixels)


def _check_file(path, shown):
  pixels.check_not_empty(path, shown)
  if os.path.getsize(path) > MAX_BYTES:
    raise pixels.WrongFile(
        f'the file is larger than {MAX_BYTES >> 20} MiB', shown,
        'export single pictures')
  if not is_dicom(path):
    raise pixels.WrongFile(
        'it is not DICOM', shown, 'replace or rename the file')


def check_not_compressed(dataset: pydicom.Dataset, shown: str) -> None:
  """Refuses a file whose pixels are compressed.

  Args:
    dataset: the parsed file.
    shown: name of the file, for messages.
  """
  syntax = dataset.file_meta.TransferSyntaxUID
  if syntax.is_compressed and syntax != '1.2.840.10008.1.2.1.99':
    raise pixels.WrongFile(
        'the pixels are compressed', f'{shown}: {syntax.name}'[:60],
        'decompress it, for instance with dcmdjpeg or gdcmconv --raw')


def scale_of(tags: pydicom.Dataset | dict) -> tuple[float, float]:
  """Returns RescaleSlope and RescaleIntercept; 1 and 0 if they are missing."""
  found = [tags.get(n) for n in ('RescaleSlope', 'RescaleIntercept')]
  return tuple(float(usual if value is None else value)
               for value, usual in zip(found, (1, 0), strict=True))


def check_scale(slope: float, intercept: float, shown: str) -> None:
  """Refuses a scale that would make a picture of one gray value.

  Args:
    slope: RescaleSlope.
    intercept: RescaleIntercept.
    shown: name of the file, for messages.

  Raises:
    pixels.WrongFile: if the slope is 0, or a number is not finite.
  """
  if not (np.isfinite(slope) and np.isfinite(intercept)) or not slope:
    raise pixels.WrongFile(
        'RescaleSlope is 0, or it or RescaleIntercept is not finite', shown,
        'export it again')


def read_dicom(
    path: pathlib.Path,
) -> tuple[np.ndarray, tuple[float, float] | None]:
  """Reads the pixels and the spacing (y, x) in mm of one picture.

  Intensities are rescaled by the slope and intercept of the file. MONOCHROME1
  is inverted, so that bright pixels have large values.

  Returns:
    Intensities, [H, W] or uint8 [H, W, 3]; and the spacing, None if the file
    does not give it.

  Raises:
    pixels.WrongFile: if the file cannot be used. Of all values in the file, the
      message quotes only those that describe the geometry of the picture.
  """
  shown = pixels.tail(path.name)
  with explaining(shown):
    _check_file(path, shown)
    name = object_name(path)
    if name is not None:
      raise pixels.WrongFile(
          _LABELS.get(name, f'a DICOM file without a picture ({name})'), shown,
          f'prepare reads it with {READ_BY[name]}' if name in _LABELS else
          'remove it')
    dataset = pydicom.dcmread(path, specific_tags=list(DICOM_TAGS))
    check_dicom(dataset, shown)
    array = dataset.pixel_array
    slope, inter = scale_of(dataset)
    check_scale(slope, inter, shown)
    spacing = dataset.get('PixelSpacing') or dataset.get(
        'ImagerPixelSpacing')
    spacing = tuple(map(float, spacing)) if spacing else None
  if array.ndim == 3 and array.shape[-1] == 3:
    return array, spacing
  if (slope, inter) != (1.0, 0.0):
    array = array * np.float32(slope) + np.float32(inter)
  if dataset.PhotometricInterpretation == 'MONOCHROME1':
    array = array.max() - array.astype(np.float32) + array.min()
  if spacing is not None and (
      len(spacing) != 2 or not all(0 < v < 1e6 for v in spacing)):
    raise pixels.WrongFile(
        'a spacing is not above 0', shown, 'correct PixelSpacing')
  return array, spacing


def check_dicom(
    dataset: pydicom.Dataset, shown: str, *, may_have_frames: bool = False
) -> None:
  """Refuses a file, before it is decoded, unless it is one gray or RGB picture.

  Args:
    dataset: the parsed tags of the file.
    shown: name of the file, for messages.
    may_have_frames: whether it may also be several pictures.

  Raises:
    pixels.WrongFile: if the file is refused.
  """
  need = ('Rows', 'Columns', 'BitsAllocated', 'PixelData',
          'PhotometricInterpretation')
  missing = [name for name in need if name not in dataset]
  if missing:
    raise pixels.WrongFile(
        f'no {missing[0]}, so it holds no picture', shown, 'remove it')
  frames = int(dataset.get('NumberOfFrames') or 1)
  if frames != 1 and not (may_have_frames and frames > 0):
    raise pixels.WrongFile(
        'a DICOM of several frames', f'{shown}: {frames}',
        'if they are slices, --format=dicom_seg; else save each as a file')
  form = str(dataset.PhotometricInterpretation)
  if form not in ('MONOCHROME1', 'MONOCHROME2', 'RGB'):
    raise pixels.WrongFile(
        'expected MONOCHROME1, MONOCHROME2 or RGB', f'{shown}: {form[:20]}',
        'convert it')
  check_not_compressed(dataset, shown)
  stored = dataset.get('BitsStored'), dataset.get('HighBit')
  if None not in stored and int(stored[1]) != int(stored[0]) - 1:
    # Old versions of the standard allowed such files. The upper bits would be
    # lost, since pydicom does not shift them.
    raise pixels.WrongFile(
        'HighBit is not BitsStored - 1', shown, 'convert it with gdcmconv')
  rows, columns = int(dataset.Rows), int(dataset.Columns)
  samples = 3 if form == 'RGB' else 1
  if form == 'RGB' and int(dataset.BitsAllocated) != 8:
    raise pixels.WrongFile(
        'expected 8 bits per colour', shown, 'convert it')
  size = max(1, frames) * rows * columns * samples * (
      int(dataset.BitsAllocated) // 8)
  if not 0 < rows * columns <= pixels.MAX_PIXELS or size > len(
      dataset.PixelData) or int(dataset.BitsAllocated) not in (8, 16, 32):
    raise pixels.WrongFile(
        'the pixels are not as many as the header says', f'{shown}: {rows} x '
        f'{columns}', 'export it again')
