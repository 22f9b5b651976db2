"""Reads NRRD volumes and labels, also the segmentations of 3D Slicer.

Plain NRRD images and labels pair by their names and folders, as NIfTI's do
(a.nrrd with a-label.nrrd, images/a.nrrd with labels/a.nrrd). A file with the
keys of a segmentation (.seg.nrrd) is a label, whatever its name. It belongs to
the image of its name, or to the only image of its folder. If a set has such
files, its classes are the names of the segments, see `segments`, and its images
may also be NIfTI or MetaImage, which 3D Slicer keeps if it has loaded them.
"""

from collections.abc import Iterable, Mapping, Sequence
import functools
import os
import pathlib

import numpy as np

from data_prep import formats
from data_prep import manifest as manifest_lib
from data_prep.drawing import annotation_kinds
from data_prep.formats import assembling
from data_prep.formats import grids
from data_prep.formats import nrrd_file
from data_prep.formats import nrrd_writing
from data_prep.formats import segments
from data_prep.formats import sources
from data_prep.formats import volume_cases
from data_prep.formats import volume_files
from data_prep.formats import volume_sets
from data_prep.shared import confined
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = annotation_kinds.FILES
FIELDS = ('spacing_mm',)


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are NRRD files below `source`.

  Beside NIfTI, only segmentations count.
  """
  paths = sources.list_files(source, volume_files.NRRD)
  return bool(paths) and (
      any(p.lower().endswith(volume_files.SEGMENTATIONS) for p in paths)
      or not sources.list_files(source, volume_files.NIFTI))


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Pairs images with labels; has the interface of `nifti.find`."""
  paths = tuple(sources.list_files(source, volume_files.NRRD))
  drawn = frozenset(
      p for p in paths if volume_files.is_segmentation(source / p))
  if drawn:
    paths = tuple(sources.list_files(source, volume_files.SUFFIXES))
  pairs, declared = volume_sets.pair(
      source, paths, report, volume_files.read, known_masks=drawn)
  report.used.update(
      f'{p.rpartition("/")[0]}/{name}'.lstrip('/') for p in paths
      for name in volume_files.data_files(source / p))
  return volume_sets.Found(
      paths, pairs, sources.make_names(pairs.images), volume_files.read,
      functools.partial(volume_files.read, is_lazy=True, folder=folder),
      segments=segments.Files(names, draw) if drawn else None,
      declared=declared, format_name='nrrd')


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


def _segments(path):
  """Returns the header and the segments of a file; refuses one without any."""
  shown = pixels.tail(path.name)
  with pixels.explaining('the labels cannot be read', shown, 'export it again'):
    header = nrrd_file.read_header(path)
    found = nrrd_file.segments_of(header)
  if not found:
    raise pixels.WrongFile(
        'no segment has a name, unlike in other files of the set', shown,
        'save all as .seg.nrrd, or all as plain labels')
  segments.check_distinct([s.name for s in found], shown)
  return header, found


def names(path: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of the segments of a file, see `segments.Files`."""
  return tuple(s.name for s in _segments(path)[1])


def draw(
    path: pathlib.Path,
    image: volume_type.Volume,
    values: Mapping[str, int],
) -> segments.Drawn:
  """Draws the segments of a file on the grid of an image.

  Args:
    path: a .seg.nrrd file, which may hold only a part of the grid.
    image: the volume that defines the grid.
    values: value of each segment, by name, in the order of drawing.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown = pixels.tail(path.name)
  header, found = _segments(path)
  with pixels.explaining('the labels cannot be read', shown, 'export it again'):
    opened = nrrd_file.open_layers(path, header)
    if opened.layers.dtype.kind not in 'ui':
      raise pixels.WrongFile(
          'a segmentation holds fractions', shown, 'save it as a labelmap')
    layers, notices = [], opened.notices
    for layer in opened.layers:
      placed = grids.paste(
          volume_type.Volume(layer, opened.affine), image, shown)
      layers.append(placed.voxels)
  by_name = {s.name: s for s in found}
  canvas = segments.Canvas(image.voxels.shape)
  for name, value in values.items():
    segment = by_name.get(name)
    if segment is None:
      continue
    if not 0 <= segment.layer < len(layers) or segment.value == 0:
      raise pixels.WrongFile(
          'a segment names a layer or value that does not exist',
          f'{shown}: {name[:40]}', 'save the segmentation again')
    canvas.draw(layers[segment.layer] == segment.value, value)
  _check_named(layers, found, shown)
  return segments.Drawn(canvas.label, canvas.overlap, notices)


def _check_named(layers, found, shown):
  """Refuses voxels that belong to no segment, since nobody knows what they are.
  """
  for number, layer in enumerate(layers):
    known = [0, *(s.value for s in found if s.layer == number)]
    strange = np.setdiff1d(layer, known)
    if len(strange):
      raise pixels.WrongFile(
          'voxels belong to no segment', f'{shown}: value {strange[0]}',
          'save the segmentation again')


def read_again(files: list[str]) -> volume_type.Volume:
  """Reads an image by its entry `files` in volumes.json."""
  return volume_files.read(pathlib.Path(files[0]))


def write(manifest: manifest_lib.Manifest, output: pathlib.Path) -> None:
  """Writes segmentations of 3D Slicer, and links to the images."""
  write_cases(volume_cases.of_manifest(manifest), manifest.header.classes,
              output)


def write_cases(
    cases: Iterable[volume_cases.Case],
    classes: Sequence[str],
    output: pathlib.Path,
) -> None:
  """Writes segmentations of 3D Slicer, and links to the images.

  The images are linked at images/CASE.nrrd, .nii.gz and so on, or converted to
  NRRD if they are neither NIfTI, NRRD nor MetaImage in one file. The labels are
  written to masks/CASE.seg.nrrd or, for other kinds, to other folders.

  Args:
    cases: the volumes.
    classes: class names, background first.
    output: folder to write.

  Raises:
    pixels.WrongFile: if a class cannot be the name of a segment.
  """
  segments.check_classes(classes)
  for case in cases:
    suffix = _whole_suffix(case)
    path = confined.new_file(output, f'images/{case.id}{suffix or ".nrrd"}')
    if suffix:
      os.symlink(case.files[0], path)
    else:
      nrrd_writing.write_volume(
          path, volume_cases.read_image(case), case.affine)
    for kind, label in case.read_labels().items():
      nrrd_writing.write_segmentation(
          confined.new_file(
              output, f'{volume_cases.folder_of(kind)}/{case.id}.seg.nrrd'),
          label, case.affine, classes[1:], unlabelled=segments.UNLABELLED)


def _whole_suffix(case):
  """Returns the suffix of an image that 3D Slicer reads from one file, or ''.
  """
  path = pathlib.Path(case.files[0])
  suffix = next((s for s in (*volume_files.NIFTI, '.nrrd', '.mha')
                 if path.name.lower().endswith(s)), '')
  return '' if case.format_name not in ('nifti', 'nrrd', 'metaimage') or (
      suffix == '.nrrd' and nrrd_file.data_files(path)) else suffix
