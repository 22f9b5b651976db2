"""Reads DICOM series with their segmentation objects (SEG).

Frames are placed by their positions in the patient. Where no frame of a segment
lies, there is none of it, since writers leave out empty frames. Fractions of at
least one half belong to the segment, or of at least --mask_threshold. Label
maps of 2024 are read, too; a pixel padding value in them is background.
"""

from collections.abc import Mapping
import functools
import pathlib
from typing import NamedTuple

import numpy as np
import pydicom

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.formats import assembling
from data_prep.formats import dicom
from data_prep.formats import dicom_seg_writing
from data_prep.formats import dicom_sets
from data_prep.formats import dicom_slices
from data_prep.formats import dicom_volumes
from data_prep.formats import planes
from data_prep.formats import segments
from data_prep.formats import sources
from data_prep.formats import volume_cases
from data_prep.formats import volume_sets
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = annotation_kinds.FILES
FIELDS = ('spacing_mm',)
KIND = 'SEG'

_TAGS = (
    'SegmentSequence', 'SegmentationType', 'MaximumFractionalValue',
    'PixelPaddingValue', 'Rows', 'Columns', 'NumberOfFrames', 'BitsAllocated',
    'SamplesPerPixel', 'FrameOfReferenceUID', 'ReferencedSeriesSequence',
    *dicom_slices.FRAME_TAGS)
_THRESHOLD = 0.5
_HEAD = 1024  # Bytes at the start of a file that hold its class.
_MAX_FRAMES = 100_000


class Segmentation(NamedTuple):
  """A parsed object.

  Attributes:
    names: name of each segment by its number.
    form: BINARY, FRACTIONAL or LABELMAP.
    data: the parsed tags.
    content: the stored bytes of all frames.
    size: number of rows and columns of a frame.
  """

  names: dict[int, str]
  form: str
  data: pydicom.Dataset
  content: bytes
  size: tuple[int, int]


def detect(source: pathlib.Path) -> bool:
  """Returns whether all pictures below `source` are DICOM, and some file SEG.
  """
  return is_set_of(source, KIND)


def is_set_of(source: pathlib.Path, kind: str) -> bool:
  """Returns whether a source holds DICOM pictures and objects of a kind.

  Args:
    source: folder of the files.
    kind: 'SEG' or 'RTSTRUCT'.
  """
  paths = sources.list_files(source, dicom_volumes.SUFFIXES)
  if not paths or len(sources.list_files(source, sources.PICTURES)) > len(
      paths):
    return False
  # A set may hold many thousand slices, so parse only files that may be one.
  uids = dicom.class_uids(kind)
  return any(
      any(uid in pixels.head(source / path, _HEAD) for uid in uids)
      and dicom.object_name(source / path) == kind for path in paths)


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Pairs series with objects; has the interface of `nifti.find`."""
  del folder  # Nothing is decompressed.
  threshold = report.options.mask_threshold
  return dicom_sets.find(
      source, report, kind=KIND, read_references=read_references,
      make_files=lambda grids_of: segments.Files(
          names, functools.partial(
              draw, grids_of=grids_of,
              threshold=_THRESHOLD if threshold is None else threshold)),
      format_name='dicom_seg')


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes an object for each series, see `write_cases`."""
  write_cases(volume_cases.of_manifest(manifest), manifest.header.classes,
              output)


read_again = dicom_volumes.read_again
write_cases = dicom_seg_writing.write_cases


def read_references(path: pathlib.Path) -> dicom_sets.References:
  """Returns what an object was drawn on."""
  with dicom.explaining(pixels.tail(path.name)):
    data = dicom.parse(
        path, ('ReferencedSeriesSequence', 'FrameOfReferenceUID'))
    series = data.get('ReferencedSeriesSequence') or ()
    return dicom_sets.References(
        tuple(str(item.get('SeriesInstanceUID') or '') for item in series),
        str(data.get('FrameOfReferenceUID') or ''),
        frozenset(str(image.get('ReferencedSOPInstanceUID') or '')
                  for item in series
                  for image in item.get('ReferencedInstanceSequence') or ()))


def names(path: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of the segments of an object, see `segments.Files`."""
  shown = pixels.tail(path.name)
  with dicom.explaining(shown):
    return tuple(_names(dicom.parse(path, ('SegmentSequence',)),
                        shown).values())


def _names(data, shown):
  """Returns the name of each segment by its number."""
  found = {}
  for item in data.get('SegmentSequence') or ():
    number = int(item.SegmentNumber)
    if number == 0:  # This is the background of a label map.
      continue
    name = segments.clean(item.get('SegmentLabel') or '') or (
        f'segment_{number}')
    if number in found or not 0 < number < 2**16:
      raise pixels.WrongFile(
          'the numbers of the segments are not valid', shown, 'export it again')
    found[number] = name
  segments.check_distinct(found.values(), shown)
  if not found:
    raise pixels.WrongFile(
        'the object names no segments', shown, 'export it again')
  return found


def _open(path, shown):
  """Parses an object, and checks that it holds as many bytes as it says."""
  data = dicom.parse(path, (*_TAGS, 'PixelData'), with_pixels=True)
  dicom.check_not_compressed(data, shown)
  form = str(data.get('SegmentationType') or '')
  bits = int(data.BitsAllocated)
  if (form, bits) not in (
      ('BINARY', 1), ('BINARY', 8), ('FRACTIONAL', 8), ('LABELMAP', 8),
      ('LABELMAP', 16)) or int(data.get('SamplesPerPixel') or 1) != 1:
    raise pixels.WrongFile(
        'expected a segmentation that is binary, fractional or a label map',
        f'{shown}: {bits} bits', 'export it again')
  size, frames = (int(data.Rows), int(data.Columns)), int(
      data.get('NumberOfFrames') or 1)
  listed = data.get('PerFrameFunctionalGroupsSequence') or ()
  num_bytes = -(-size[0] * size[1] * frames * bits // 8)
  if min(*size, frames) < 1 or frames != len(listed) or (
      frames > _MAX_FRAMES or num_bytes > len(data.PixelData)):
    raise pixels.WrongFile(
        'the frames are not as many as the header says', shown,
        'export it again')
  return Segmentation(_names(data, shown), form, data, data.PixelData, size)


def _frame(found, k):
  """Returns the stored values of a frame, [rows, columns]."""
  count, bits = found.size[0] * found.size[1], int(found.data.BitsAllocated)
  if bits == 1:
    start, stop = k * count, (k + 1) * count
    values = np.unpackbits(np.frombuffer(
        found.content, np.uint8, -(-stop // 8) - start // 8, start // 8),
                           bitorder='little')
    values = values[start % 8 :][:count]
  else:
    values = np.frombuffer(
        found.content, f'<u{bits // 8}', count, k * count * bits // 8)
  return values.reshape(found.size)


def draw(
    path: pathlib.Path,
    image: volume_type.Volume,
    values: Mapping[str, int],
    *,
    grids_of=None,
    threshold: float = _THRESHOLD,
) -> segments.Drawn:
  """Draws the segments of an object on the grid of an image.

  Args:
    path: the file of the object.
    image: the volume that defines the grid.
    values: value of each segment, by name, in the order of drawing.
    grids_of: takes the path and returns the grids of all volumes that the
      object belongs to; a frame must lie on one of them. None means the image
      only.
    threshold: least fraction of a segment, in [0, 1].

  Raises:
    pixels.WrongFile: if the object cannot be used.
  """
  shown = pixels.tail(path.name)
  own = planes.Grid(image.affine, image.voxels.shape)
  with dicom.explaining(shown):
    found = _open(path, shown)
    frames = _frames_by_segment(found, shown)
    _check_values(found, shown)
    others = [own] if grids_of is None else grids_of(path)
    canvas, numbers = segments.Canvas(own.shape), {
        name: number for number, name in found.names.items()}
    lost = 0
    for name, value in values.items():
      for k in frames.get(numbers.get(name), ()):
        mask = _mask(found, k, numbers[name], threshold)
        if mask.any() and not _draw_frame(
            found, k, mask, value, canvas, own, others, shown):
          lost += 1
    if lost:
      raise pixels.WrongFile(
          'frames lie outside of the images that are there',
          f'{shown}: {lost} frames', 'add the missing slices')
  notices = ()
  if found.form == 'FRACTIONAL':
    notices = (f'segments hold fractions: those from {threshold:g} on belong '
               'to the segment',)
  return segments.Drawn(canvas.label, canvas.overlap, notices)


def _frames_by_segment(found, shown):
  """Returns the numbers of the frames that may hold each segment."""
  result = {number: [] for number in found.names}
  for k in range(len(found.data.PerFrameFunctionalGroupsSequence)):
    if found.form == 'LABELMAP':
      for some in result.values():
        some.append(k)
      continue
    group = dicom_slices.groups_of(
        found.data, k, 'SegmentIdentificationSequence')
    number = None if group is None else int(group.ReferencedSegmentNumber)
    if number not in result:
      raise pixels.WrongFile(
          'a frame belongs to no segment', f'{shown}: frame {k + 1}',
          'export it again')
    result[number].append(k)
  return result


def _check_values(found, shown):
  """Refuses a label map with values that are no segment."""
  if found.form != 'LABELMAP':
    return
  count = len(found.data.PerFrameFunctionalGroupsSequence)
  stored = set().union(*(np.unique(_frame(found, k)).tolist()
                         for k in range(count)))
  known = [0, *found.names]
  if found.data.get('PixelPaddingValue') is not None:
    known.append(int(found.data.PixelPaddingValue))
  strange = stored.difference(known)
  if strange:
    raise pixels.WrongFile(
        'pixels belong to no segment', f'{shown}: value {min(strange)}',
        'export it again')


def _mask(found, k, number, threshold):
  """Returns the pixels of a frame that belong to a segment."""
  stored = _frame(found, k)
  if found.form == 'LABELMAP':
    return stored == number
  if found.form == 'FRACTIONAL':
    most = int(found.data.get('MaximumFractionalValue') or 255)
    return (stored >= threshold * most) & (stored > 0)
  return stored != 0


def _draw_frame(found, k, mask, value, canvas, own, others, shown):
  """Draws a frame; returns whether it lies on any of the volumes."""
  group = functools.partial(dicom_slices.groups_of, found.data, k)
  place, turn, measures = (group(name) for name in (
      'PlanePositionSequence', 'PlaneOrientationSequence',
      'PixelMeasuresSequence'))
  if place is None or turn is None or measures is None:
    raise pixels.WrongFile(
        'frames have no position in the patient', shown,
        'export slides as pictures')
  spacing = dicom_slices.vector(measures.PixelSpacing, 2)
  steps = dicom_slices.unit_axes(turn.ImageOrientationPatient) * (
      spacing[:, None] * dicom_slices.LPS)
  position = dicom_slices.vector(
      place.ImagePositionPatient, 3) * dicom_slices.LPS
  placement = planes.place(steps, position, found.size, own, shown)
  cut = planes.cut(mask, placement, own.shape)
  if cut is not None:
    block, part = cut
    canvas.draw(part, value, block)
    return np.count_nonzero(part) == np.count_nonzero(mask)
  return any(planes.cut(mask, planes.place(
      steps, position, found.size, grid, shown), grid.shape)
             for grid in others if grid.shape != own.shape
             or not np.array_equal(grid.affine, own.affine))
