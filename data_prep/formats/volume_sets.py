"""Reads sets of volumes of any format: pairs, labels, and slices as rows.

A format says by `Found` which files are images and which are labels, and how a
file becomes a `volume_type.Volume`. Everything else is the same for all of
them. Slices keep the stored order of the axes. If the user names no `axis`,
volumes are sliced along an axis of length 1 or, if there is none, along the
axis with the largest spacing. OUTPUT/volumes.json stores what is needed to put
the slices back into their volumes: the file, axis, shape and affine of each
volume, and the ids of its slices.
"""

from collections.abc import Callable
import json
import pathlib
from typing import NamedTuple

import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.drawing import annotation_kinds
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import dicom_objects
from data_prep.formats import intensities
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import segments as segments_lib
from data_prep.formats import sources
from data_prep.formats import uniting
from data_prep.formats import volume_labels
from data_prep.formats import volumes
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type

KINDS = annotation_kinds.FILES
INDEX = row_names.INDEX

ReadFile = Callable[[pathlib.Path], volume_type.Volume]


class Found(NamedTuple):
  """The files of a source in one format, and how to read them.

  Attributes:
    paths: paths of all files, relative to the source.
    pairs: images and their labels.
    names_of: name of each image by its path.
    read: reads the file of an image, or of a label without segments, into
      memory.
    open: opens such a file and leaves its voxels on the disk.
    segments: reads labels that hold named segments; None if labels hold
      numbers.
    declared: names and values of classes that the source declares.
    subjects: subject of an image by its path, if its file tells one.
    format_name: name of the format, for volumes.json; '' means NIfTI.
    files_of: all files of an image by its path, if it has several.
    has_spacing: whether files state spacings. If not, the shortest axis of a
      volume counts its slices.
  """

  paths: tuple[str, ...]
  pairs: pairing.Pairs
  names_of: dict[str, sources.Name]
  read: ReadFile
  open: ReadFile
  segments: segments_lib.Files | None = None
  declared: declared_names.Declared = declared_names.Declared()
  subjects: dict[str, str] = {}
  format_name: str = ''
  files_of: dict[str, tuple[str, ...]] = {}
  has_spacing: bool = True

  def name(self, path: str, options: formats.Options) -> tuple[str, str]:
    """Returns the name and the subject of an image."""
    name = self.names_of[path]
    case = name.id
    if path in self.pairs.channels:
      case = case.removesuffix('_0000')
    if options.subject_pattern is None and path in self.subjects:
      return case, self.subjects[path]
    return case, sources.subject_of(name, options.subject_pattern) or (
        case if options.subject_pattern is None else '')


class Sought(NamedTuple):
  """The files of a source and the meaning of their labels.

  Attributes:
    found: the files.
    labels: reads the labels of an image.
    uniter: unites several label files of an image.
    classes: class names, background first.
  """

  found: Found
  labels: volume_labels.Reader | segments_lib.Reader
  uniter: uniting.Uniter
  classes: tuple[str, ...]


def pair(
    source: pathlib.Path,
    paths: tuple[str, ...],
    report: assembling.Report,
    read_file: ReadFile,
    *,
    known_masks: frozenset[str] = frozenset(),
) -> tuple[pairing.Pairs, declared_names.Declared]:
  """Pairs images with labels by their names and folders.

  Args:
    source: folder of the files.
    paths: paths of all files, relative to it.
    report: holds the user's options; receives problems and notices.
    read_file: reads a file into memory.
    known_masks: files that are labels by their content.

  Returns:
    The pairs, and the names of classes that the source declares.
  """
  declared = declared_names.read(source, paths, report)
  return pairing.pair(
      paths, report, channel_names=declared.channels, known_masks=known_masks,
      is_blank=lambda path: len(volume_labels.count_values(
          source / path, read_file)) == 1), declared


def seek(
    found: Found,
    source: pathlib.Path,
    report: assembling.Report,
    writer: intensities.Writer,
    *,
    is_lazy: bool = False,
) -> Sought:
  """Looks through all labels for their classes.

  Args:
    found: the files of the source.
    source: folder of the files.
    report: holds the user's options; receives problems and notices.
    writer: the writer of the source.
    is_lazy: whether the voxels of labels stay on the disk.
  """
  options, pairs = report.options, found.pairs
  masks = [m for masks in pairs.masks.values() for m in masks]
  uniter = uniting.Uniter(
      pairs.structures, writer, nouns=('voxel', 'volume'),
      is_ordered=options.classes is not None)
  if found.segments is not None:
    labels = segments_lib.Reader(source, found.segments, uniter, report)
    return Sought(found, labels, uniter, labels.look_through(masks))
  read = found.open if is_lazy else found.read
  num_problems = len(report.problems)
  values, highest, declared = volume_labels.look_through(
      source, masks, report, found.declared, read=read)
  labels = volume_labels.Reader(
      source, values, uniter, report,
      is_asked=len(report.problems) > num_problems, read=read)
  return Sought(
      found, labels, uniter,
      declared_names.classes_of(pairs.names, declared, options, highest))


def read(
    found: Found,
    source: pathlib.Path,
    output: pathlib.Path,
    report: assembling.Report,
) -> formats.Imported:
  """Reads volumes and their labels, and cuts them into slices.

  Args:
    found: the files of the source.
    source: folder of the files.
    output: folder for the slices.
    report: holds the user's options; receives problems and notices.
  """
  options, pairs = report.options, found.pairs
  writer = intensities.Writer(source, output, options)
  sought = seek(found, source, report, writer)
  labels, uniter = sought.labels, sought.uniter
  cutter, films = _Cutter(source, writer, uniter, options, found), []
  for path in sorted(pairs.images, key=found.names_of.get):
    masks = pairs.masks.get(path, [])
    try:
      volume = found.read(source / path)
      intensities.check_finite(volume.voxels, path)
    except pixels.WrongFile as wrong:
      if isinstance(wrong, volumes.FurtherAxis) and pairs.masks and not masks:
        films.append(path)
      else:
        report.wrong_file(wrong, file=path)
      continue
    labels.add_oddities(volume.notices, path)
    if not intensities.is_finite(volume.voxels):
      labels.add_oddities((intensities.NOT_FINITE,), path)
    case, subject = found.name(path, options)
    for key, observer, kinds in parts_lib.by_observer(masks, case):
      of_kinds = labels.read(kinds, volume, key)
      if of_kinds is not None:
        cutter.cut(path, volume, of_kinds, key, subject=subject,
                   annotator=observer)
  if films:
    report.note(f'{grammar.counted(len(films), "volume")} of four axes without '
                f'mask {grammar.verb(len(films), "are")} not read, such as '
                f'{pixels.tail(films[0])}')
  uniter.tell(report)
  labels.tell()
  if cutter.index:
    (output / INDEX).write_text(
        json.dumps(cutter.index, indent=1), encoding='utf-8')
  report.used.update(found.paths)
  note_objects(source, report)
  return writer.finish(
      cutter.rows, cutter.weak, sought.classes, report,
      is_annotated=bool(pairs.masks))


def note_objects(source: pathlib.Path, report: assembling.Report) -> None:
  """Notes DICOM segmentations and the like that the format does not read."""
  paths = sources.list_files(source, ('.dcm',))
  found = dicom_objects.find(source, tuple(
      p for p in paths if p not in report.used))
  if found.others:
    report.note(dicom_objects.describe(found.others))
    report.used.update(found.others)


class _Cutter:
  """Cuts volumes into slices, which become rows.

  Attributes:
    rows: the rows of all slices.
    weak: weak annotations of slices that also have an exact mask, by the id of
      the slice.
    index: the content of volumes.json, see the module.
  """

  def __init__(self, source, writer, uniter, options, found):
    self.rows, self.weak, self.index = [], {}, {}
    self._source = source
    self._writer = writer
    self._uniter = uniter
    self._options = options
    self._found = found

  def cut(self, path, volume, labels, key, **more):
    """Adds a row for each slice of a volume.

    Args:
      path: path of the file, relative to the source.
      volume: the volume.
      labels: its labels by kind, with the same axes.
      key: name of the volume, with which the ids of its slices begin.
      **more: further fields of all rows.
    """
    axis = self._options.axis
    shape = volume.voxels.shape
    if axis is None:
      axis = thinnest_axis(volume) if self._found.has_spacing else min(
          range(3), key=lambda i: (shape[i], -i))
    limits = self._options.intensity_range or intensities.percentiles(
        volume.voxels)
    spacing = tuple(round(v, 6) for i, v in enumerate(volume.spacing_mm)
                    if i != axis) if self._found.has_spacing else None
    # np.take would copy the whole volume for each slice.
    slices_of = lambda array: np.moveaxis(array, axis, 0)
    names = []
    for k, picture in enumerate(slices_of(volume.voxels)):
      row_id = f'{key}_{"xyz"[axis]}{k:03d}'
      if volume.voxels.shape[axis] == 1:
        row_id = key
      names.append(row_id)
      image = self._writer.write(picture, row_id, limits=limits)
      annotation, second = uniting.strong_and_weak([
          self._uniter.annotation(slices_of(labels[kind])[k], kind, row_id)
          for kind in KINDS if kind in labels])
      if second:
        self.weak[row_id] = second
      self.rows.append(manifest_lib.Row(
          row_id, image, sources.split_of(path),
          '' if annotation else 'unlabelled', annotation, spacing_mm=spacing,
          **more))
    self.index[key] = {
        'file': str((self._source / path).resolve()), 'axis': axis,
        'ids': names, 'shape': list(volume.voxels.shape),
        'affine': volume.affine.tolist()}
    if self._found.format_name:
      self.index[key]['format'] = self._found.format_name
      self.index[key]['files'] = [
          str((self._source / p).resolve())
          for p in self._found.files_of.get(path, (path,))]


def thinnest_axis(volume: volume_type.Volume) -> int:
  """Returns the axis along which a volume is sliced by default.

  Axes of length 1 are preferred. If there are several of them, or none, the
  axis with the largest spacing is taken, and the last one of equal axes.
  """
  single = [n == 1 for n in volume.voxels.shape]
  spacing = np.round(volume.spacing_mm, 3)
  return max(range(3), key=lambda i: (single[i], spacing[i], i))
