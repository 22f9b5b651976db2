"""Reads and writes NIfTI volumes, whose slices become rows.

Images and labels have the same name and lie in folders as `folder` describes
them (images/a.nii.gz, labels/a.nii.gz, scribbles/a.nii.gz, or nnU-Net's
imagesTr/a_0000.nii.gz). Slices keep the stored order of their axes. If the user
names no `axis`, volumes are sliced along an axis of length 1 or, if there is
none, along the axis with the largest spacing. OUTPUT/volumes.json stores what
is needed to put the slices back into their volumes: the file, axis, shape and
affine of each volume, and the ids of its slices.
"""

from collections.abc import Callable
import json
import os
import pathlib
from typing import NamedTuple

import nibabel
import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep import row_names
from data_prep.drawing import annotation_kinds
from data_prep.drawing import rasterize
from data_prep.formats import assembling
from data_prep.formats import declared_names
from data_prep.formats import intensities
from data_prep.formats import nifti_labels
from data_prep.formats import pairing
from data_prep.formats import parts as parts_lib
from data_prep.formats import placing
from data_prep.formats import sources
from data_prep.formats import uniting
from data_prep.formats import volumes
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = annotation_kinds.FILES
INDEX = row_names.INDEX

_SUFFIXES = ('.nii', '.nii.gz')


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are NIfTI files below `source`."""
  return bool(sources.list_files(source, _SUFFIXES))


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  options = report.options
  writer = intensities.Writer(source, output, options)
  sought = seek(source, report, writer)
  pairs, labels, uniter = sought.pairs, sought.labels, sought.uniter
  cutter, films = _Cutter(source, writer, uniter, options), []
  for path in sorted(pairs.images, key=sought.names_of.get):
    masks = pairs.masks.get(path, [])
    try:
      volume = volumes.read_nifti(source / path)
    except pixels.WrongFile as wrong:
      if isinstance(wrong, volumes.FurtherAxis) and pairs.masks and not masks:
        films.append(path)
      else:
        report.wrong_file(wrong, file=path)
      continue
    labels.add_oddities(volume.notices, path)
    case, subject = sought.name(path, options)
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
  report.used.update(sought.paths)
  return writer.finish(
      cutter.rows, cutter.weak, sought.classes, report,
      is_annotated=bool(pairs.masks))


class Sought(NamedTuple):
  """The files of a source and the meaning of their labels.

  Attributes:
    paths: paths of all files, relative to the source.
    pairs: images and their labels.
    names_of: name of each image by its path.
    labels: reads the labels of an image.
    uniter: unites several label files of an image.
    classes: class names, background first.
  """

  paths: tuple[str, ...]
  pairs: pairing.Pairs
  names_of: dict[str, sources.Name]
  labels: nifti_labels.Reader
  uniter: uniting.Uniter
  classes: tuple[str, ...]

  def name(self, path: str, options: formats.Options) -> tuple[str, str]:
    """Returns the name and the subject of an image."""
    name = self.names_of[path]
    case = name.id
    if path in self.pairs.channels:
      case = case.removesuffix('_0000')
    return case, sources.subject_of(name, options.subject_pattern) or (
        case if options.subject_pattern is None else '')


def seek(
    source: pathlib.Path,
    report: assembling.Report,
    writer: intensities.Writer,
    *,
    read: Callable[[pathlib.Path], volume_type.Volume] = volumes.read_nifti,
) -> Sought:
  """Pairs images with labels, and looks through all labels for their classes.

  Args:
    source: folder of the files.
    report: holds the user's options; receives problems and notices.
    writer: the writer of the source.
    read: function that reads the file of a label.
  """
  options = report.options
  paths = tuple(sources.list_files(source, _SUFFIXES))
  declared = declared_names.read(source, paths, report)
  pairs = pairing.pair(
      paths, report, channel_names=declared.channels,
      is_blank=lambda path: len(nifti_labels.count_values(source / path)) == 1)
  num_problems = len(report.problems)
  values, highest, declared = nifti_labels.look_through(
      source, [m for masks in pairs.masks.values() for m in masks], report,
      declared, read=read)
  uniter = uniting.Uniter(
      pairs.structures, writer, nouns=('voxel', 'volume'),
      is_ordered=options.classes is not None)
  labels = nifti_labels.Reader(
      source, values, uniter, report,
      is_asked=len(report.problems) > num_problems, read=read)
  return Sought(
      paths, pairs, sources.make_names(pairs.images), labels, uniter,
      declared_names.classes_of(pairs.names, declared, options, highest))


class _Cutter:
  """Cuts volumes into slices, which become rows.

  Attributes:
    rows: the rows of all slices.
    weak: weak annotations of slices that also have an exact mask, by the id of
      the slice.
    index: the content of volumes.json, see the module.
  """

  def __init__(self, source, writer, uniter, options):
    self.rows, self.weak, self.index = [], {}, {}
    self._source = source
    self._writer = writer
    self._uniter = uniter
    self._options = options

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
    if axis is None:
      axis = thinnest_axis(volume)
    limits = self._options.intensity_range or intensities.percentiles(
        volume.voxels)
    spacing = tuple(round(v, 6) for i, v in enumerate(volume.spacing_mm)
                    if i != axis)
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
          for kind in HOLDS if kind in labels])
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


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes volumes of labels, and links to the volumes of images.

  The images are linked at images/CASE.nii.gz. The labels are written to
  masks/CASE.nii.gz or, for other kinds, to other folders. Slices are put back
  at their places in the volume, see the module. If the slices of a volume have
  several kinds of annotation, each kind has a file, which holds 255 in slices
  of another kind. A picture that was not cut from a volume becomes a volume of
  one slice.
  """
  path = manifest.folder / INDEX
  index = json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}
  rows = {row.id: row for row in manifest.rows}
  sliced = {i for entry in index.values() for i in entry['ids']}
  for case, entry in index.items():
    _link(entry['file'], output, case)
    size = [n for i, n in enumerate(entry['shape']) if i != entry['axis']]
    found = {}
    for k, row_id in enumerate(entry['ids']):
      row = rows.get(row_id)
      if row is not None and row.annotation is not None:
        slices = found.setdefault(
            _folder_of(row.annotation['kind']),
            [np.full(size, 255, np.uint8) for _ in entry['ids']])
        slices[k] = rasterize.rasterize(
            row.annotation, size=tuple(size), root=manifest.root)
    for place, slices in found.items():
      _save(np.stack(slices, entry['axis']), np.array(entry['affine']), output,
            place, case)
  for row in manifest.rows:
    if row.id in sliced:
      continue
    pixels.check_file(row.image, 'image', pixels.open_folder(manifest.root))
    with_path = (manifest.root / row.image).resolve()
    size = placing.picture_size(with_path)
    affine = np.diag([*(row.spacing_mm or (1.0, 1.0)), 1.0, 1.0])
    image = rasterize.read_image(with_path)[..., 0]
    _save(image[..., None], affine, output, 'images', row.id)
    if row.annotation is not None:
      label = rasterize.rasterize(
          row.annotation, size=size, root=manifest.root)
      _save(label[..., None], affine, output,
            _folder_of(row.annotation['kind']), row.id)


def thinnest_axis(volume: volume_type.Volume) -> int:
  """Returns the axis along which a volume is sliced by default.

  Axes of length 1 are preferred. If there are several of them, or none, the
  axis with the largest spacing is taken, and the last one of equal axes.
  """
  single = [n == 1 for n in volume.voxels.shape]
  spacing = np.round(volume.spacing_mm, 3)
  return max(range(3), key=lambda i: (single[i], spacing[i], i))


def _link(file, output, case):
  suffix = '.nii.gz' if file.lower().endswith('.gz') else '.nii'
  os.symlink(file, confined.new_file(output, f'images/{case}{suffix}'))


def _folder_of(kind):
  return f'{kind}s' if kind in HOLDS else 'coarse_masks'


def _save(voxels, affine, output, place, case):
  nibabel.save(
      nibabel.Nifti1Image(voxels, affine),
      confined.new_file(output, f'{place}/{case}.nii.gz'))
