"""Writes DICOM segmentation objects (SEG) of series, by highdicom.

An object belongs to a series by its UIDs, and names the slices that it was
drawn on. Of these, only `_TAGS` are read, so that the object holds nothing of
the patient: the tags that DICOM wants of patient and study are empty.
"""

from collections.abc import Iterable, Sequence
import logging
import os
import pathlib
from typing import Any, NamedTuple
import warnings

from hybridseg import types
import numpy as np
import pydicom

from data_prep.formats import dicom
from data_prep.formats import dicom_slices
from data_prep.formats import segments
from data_prep.formats import volume_cases
from data_prep.shared import confined
from data_prep.shared import pixels

_TAGS = (
    'SOPClassUID', 'SOPInstanceUID', 'StudyInstanceUID', 'SeriesInstanceUID',
    'FrameOfReferenceUID', 'ImagePositionPatient', 'ImageOrientationPatient',
    'PixelSpacing', 'SliceThickness', 'SpacingBetweenSlices', 'Rows', 'Columns',
    'NumberOfFrames')
_NEEDED = _TAGS[:4]
# The only tags of the frames of a file with several.
_GROUPS = {
    'PlanePositionSequence': ('ImagePositionPatient',),
    'PlaneOrientationSequence': ('ImageOrientationPatient',),
    'PixelMeasuresSequence': (
        'PixelSpacing', 'SliceThickness', 'SpacingBetweenSlices')}
# DICOM wants these tags, also if they are empty.
_EMPTY = (
    'PatientName', 'PatientID', 'PatientBirthDate', 'PatientSex', 'StudyDate',
    'StudyTime', 'StudyID', 'AccessionNumber', 'ReferringPhysicianName')


# Its log quotes UIDs of slices.
logging.getLogger('highdicom').setLevel(logging.CRITICAL)


class _Part(NamedTuple):
  """A stack of slices, and its labels."""

  case: volume_cases.Case
  planes: tuple[dicom_slices.Plane, ...]


def write_cases(
    cases: Iterable[volume_cases.Case],
    classes: Sequence[str],
    output: pathlib.Path,
) -> None:
  """Writes an object for each series, and links to the slices.

  The slices are linked at images/CASE, and the objects written to
  segmentations/CASE.dcm, or segmentations/ANNOTATOR/CASE.dcm. Stacks of one
  series share an object; what nobody has annotated is unlabelled in it.

  Args:
    cases: the volumes.
    classes: class names, background first.
    output: folder to write.

  Raises:
    pixels.WrongFile: if a volume is not DICOM, or if highdicom is missing.
  """
  segments.check_classes(classes)
  for name in classes[1:]:
    if '\\' in name:  # DICOM divides texts there.
      raise pixels.WrongFile(
          'a class cannot be the name of a segment', repr(name),
          'rename it in the manifest, without \\')
  groups: dict[Any, list[_Part]] = {}
  linked: set[str] = set()
  for case in cases:
    part = _Part(case, _planes(case))
    _link(case, output, linked)
    first = part.planes[0]
    rounded = np.round([*first.axes.ravel(), *first.spacing], 3)
    is_alone = first.path if _num_frames(part) > 1 else ''
    groups.setdefault((
        first.series, case.annotator, first.size, tuple(rounded), is_alone),
                      []).append(part)
  _check_highdicom()
  for parts in groups.values():
    label = _join(parts)
    if label is not None:
      case = parts[0].case
      path = confined.new_file(output, '/'.join(filter(None, (
          'segmentations', case.annotator, f'{_name(case)}.dcm'))))
      _write_object(path, parts, label, classes[1:])


def _check_highdicom():
  try:
    import highdicom  # noqa: F401
  except ImportError as error:
    raise pixels.WrongFile(
        'writing DICOM segmentations needs highdicom', '',
        "pip install -e '.[dicom_seg]'") from error


def _name(case):
  """Returns the name of a volume without the annotator."""
  return case.id.removesuffix(f'@{case.annotator}')


def _files(case):
  """Returns the files and frames of a volume; refuses other formats."""
  if case.format_name not in ('dicom_seg', 'rtstruct'):
    raise pixels.WrongFile(
        'dicom_seg needs DICOM series, to which its objects belong',
        f'{case.id[-40:]}: {pixels.tail(os.path.basename(case.files[0]))}',
        'use --format=nrrd, or nifti')
  return [(path, int(frame)) for path, _, frame in (
      file.rpartition('#') for file in case.files)]


def _planes(case):
  files = _files(case)
  of_file = {}
  for path in dict.fromkeys(path for path, _ in files):
    shown = pathlib.Path(path)
    with dicom.explaining(pixels.tail(shown.name)):
      found = dicom_slices.read_planes(shown.parent, shown.name)
      of_file[path] = [plane._replace(path=path) for plane in found]
  return tuple(of_file[path][frame] for path, frame in files)


def _num_frames(part):
  """Returns how many slices share the first file."""
  return sum(plane.path == part.planes[0].path for plane in part.planes)


def _link(case, output, linked):
  """Links to the files of a volume, so that it has the same name again."""
  paths = [p for p in dict.fromkeys(p for p, _ in _files(case))
           if p not in linked]
  linked.update(paths)
  if len({path for path, _ in _files(case)}) == 1:
    names = [f'images/{_name(case)}.dcm']
  else:
    own = [os.path.basename(path) for path in paths]
    if len(set(own)) < len(own):
      own = [f'{k:05d}.dcm' for k in range(len(own))]
    names = [f'images/{_name(case)}/{name}' for name in own]
  for path, name in zip(paths, names, strict=False):
    os.symlink(path, confined.new_file(output, name))


def _join(parts):
  """Returns the classes of all slices, [F, rows, columns]; None without any."""
  found, is_drawn = [], False
  for part in parts:
    joined = np.full(part.case.shape, types.UNLABELLED, np.uint8)
    for label in part.case.read_labels().values():
      is_drawn = True
      joined = np.where(joined == types.UNLABELLED, label, joined)
    found.append(np.moveaxis(joined, 2, 0))
  return np.concatenate(found) if is_drawn else None


def _write_object(path, parts, label, names):
  """Writes one object."""
  import highdicom
  from highdicom import seg
  names, planes = list(names), [p for part in parts for p in part.planes]
  if (label == types.UNLABELLED).any():
    names.append(segments.UNLABELLED)
    label = np.where(label == types.UNLABELLED, len(names), label).astype(
        np.uint8)
  tissue = pydicom.sr.coding.Code('85756007', 'SCT', 'Tissue')
  shown = pixels.tail(pathlib.Path(planes[0].path).name)
  if label[0].size < 8:  # highdicom would pad each frame, which is wrong.
    raise pixels.WrongFile(
        'highdicom cannot write frames of fewer than 8 pixels', shown,
        'use --format=nrrd')
  images = [_source(file, shown) for file in dict.fromkeys(
      plane.path for plane in planes)]
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      found = seg.Segmentation(
          source_images=images, pixel_array=label,
          segmentation_type=seg.SegmentationTypeValues.BINARY,
          segment_descriptions=[
              seg.SegmentDescription(
                  segment_number=i, segment_label=name,
                  segmented_property_category=tissue,
                  segmented_property_type=tissue,
                  algorithm_type=seg.SegmentAlgorithmTypeValues.MANUAL)
              for i, name in enumerate(names, 1)],
          series_instance_uid=highdicom.UID(), series_number=1,
          sop_instance_uid=highdicom.UID(), instance_number=1,
          manufacturer='hybridseg',
          manufacturer_model_name='hybridseg, written by highdicom',
          software_versions=highdicom.__version__, device_serial_number='0',
          content_label='SEGMENTATION', series_description='Segmentation',
          specific_character_set='ISO_IR 192',
          plane_positions=[
              highdicom.PlanePositionSequence(
                  highdicom.CoordinateSystemNames.PATIENT,
                  plane.position.tolist()) for plane in planes])
      found.save_as(path)
  except (ValueError, TypeError, AttributeError) as error:
    # Its message may quote the file.
    raise pixels.WrongFile(
        f'highdicom cannot write a segmentation: {type(error).__name__}', shown,
        'use --format=nrrd') from error


def _source(path, shown):
  """Returns what an object says of a file, and nothing else of it."""
  with dicom.explaining(shown):
    found = dicom.parse(
        pathlib.Path(path), (*_TAGS, *dicom_slices.FRAME_TAGS))
    missing = [name for name in _NEEDED if not found.get(name)]
    if missing:
      raise pixels.WrongFile(
          f'a slice has no {missing[0]}', shown, 'use --format=nrrd')
    data = pydicom.Dataset()
    _copy(found, data, _TAGS)
    if 'SliceThickness' not in data:
      data.SliceThickness = None
    if not data.get('FrameOfReferenceUID'):
      data.FrameOfReferenceUID = pydicom.uid.generate_uid(
          entropy_srcs=[str(data.SeriesInstanceUID)])
    for name in _EMPTY:
      setattr(data, name, '')
    for name in dicom_slices.FRAME_TAGS:
      if name in found:
        setattr(data, name, [_groups(item) for item in found[name].value])
    return data


def _groups(item):
  """Returns the position, orientation and spacing in an item of frames."""
  result = pydicom.Dataset()
  for name, tags in _GROUPS.items():
    if item.get(name):
      kept = pydicom.Dataset()
      _copy(item[name][0], kept, tags)
      setattr(result, name, [kept])
  return result


def _copy(source, target, tags):
  """Copies tags, and no others, from one dataset to another."""
  for name in tags:
    if name in source:
      setattr(target, name, source[name].value)
