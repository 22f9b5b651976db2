"""Reads MetaImage volumes and labels: .mha, or .mhd beside the voxels.

Images and labels pair by their names and folders, as NIfTI's do (a.mha with
a_mask.mha, images/a.mha with labels/a.mha). A file of two axes is a volume of
one slice. Directions are those of ITK: an axis points to the left, the back or
the top, whatever AnatomicalOrientation says. SimpleITK would save the 25 lines
that divide the header into fields, since the check of sizes before voxels are
read, and voxels that stay on the disk, are ours in any case. It takes 264 MB.
"""

import functools
import os
import pathlib

import numpy as np

from data_prep import formats
from data_prep.formats import assembling
from data_prep.formats import sources
from data_prep.formats import stored_voxels
from data_prep.formats import volume_sets
from data_prep.formats import volumes
from data_prep.shared import confined
from data_prep.shared import pixels
from data_prep.shared import volume_type

HOLDS = ()

_SUFFIXES = ('.mha', '.mhd')
_TYPES = {
    'MET_CHAR': 'i1', 'MET_UCHAR': 'u1', 'MET_SHORT': 'i2', 'MET_USHORT': 'u2',
    'MET_INT': 'i4', 'MET_UINT': 'u4', 'MET_LONG': 'i4', 'MET_ULONG': 'u4',
    'MET_LONG_LONG': 'i8', 'MET_ULONG_LONG': 'u8', 'MET_FLOAT': 'f4',
    'MET_DOUBLE': 'f8'}
_LPS = np.array([-1.0, -1.0, 1.0])


def detect(source: pathlib.Path) -> bool:
  """Returns whether there are MetaImage files below `source`."""
  return bool(sources.list_files(source, _SUFFIXES))


def find(
    source: pathlib.Path,
    report: assembling.Report,
    *,
    folder: pathlib.Path | None = None,
) -> volume_sets.Found:
  """Pairs images with labels; has the interface of `nifti.find`."""
  paths = tuple(sources.list_files(source, _SUFFIXES))
  pairs, declared = volume_sets.pair(source, paths, report, read_metaimage)
  for path in paths:
    name = data_file(source / path)
    if name:
      report.used.add(f'{path.rpartition("/")[0]}/{name}'.lstrip('/'))
  return volume_sets.Found(
      paths, pairs, sources.make_names(pairs.images), read_metaimage,
      functools.partial(read_metaimage, is_lazy=True, folder=folder),
      declared=declared,
      format_name='metaimage')


def read(
    source: pathlib.Path, output: pathlib.Path, report: assembling.Report
) -> formats.Imported:
  """Reads volumes and their labels below `source`, see `data_prep.formats`."""
  return volume_sets.read(find(source, report), source, output, report)


def read_again(files: list[str]) -> volume_type.Volume:
  """Reads an image by its entry `files` in volumes.json."""
  return read_metaimage(pathlib.Path(files[0]))


def read_metaimage(
    path: pathlib.Path,
    *,
    is_lazy: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> volume_type.Volume:
  """Reads a .mha or .mhd file of two or three axes.

  Args:
    path: the file.
    is_lazy: whether the voxels stay on the disk.
    folder: folder for what is decompressed then, see `stored_voxels.load`.

  Raises:
    pixels.WrongFile: if the file cannot be used.
    OSError: if the disk is full.
  """
  shown = pixels.tail(path.name)
  with pixels.explaining('the volume cannot be read', shown, 'export it again'):
    fields, length = _read_header(path, shown)
    shape, dtype = _check(fields, shown, is_lazy)
    affine = _affine(fields, len(shape), shown)
    layout = _layout(path, fields, length, shape, dtype, shown)
    array = stored_voxels.load(layout, shown, is_lazy=is_lazy, folder=folder)
    array = array.reshape(shape + (1,) * (3 - len(shape)), order='F')
    return volume_type.Volume(
        stored_voxels.to_voxels(array, is_lazy=is_lazy), affine)


def _read_header(path, shown):
  """Returns the fields of the header, and its length in bytes."""
  with volumes.explaining_file(shown), open(path, 'rb') as file:
    pixels.check_not_empty(path, shown)
    content = file.read(2**16)
  fields, place = {}, 0
  while 'elementdatafile' not in fields:
    end = content.find(b'\n', place)
    line = content[place : end if end >= 0 else len(content)]
    name, mark, value = line.decode('latin-1').partition('=')
    if not mark or (end < 0 and len(content) == 2**16):
      raise pixels.WrongFile(
          'it is not MetaImage' if not fields else 'the header has no end',
          f'{shown}, after {place} bytes', 'export it as .mha')
    fields[name.strip().lower()] = value.strip()
    place = end + 1
    if end < 0:
      place = len(content)
      break
  if 'elementdatafile' not in fields or 'dimsize' not in fields:
    raise pixels.WrongFile(
        'the header names no size or no file of the voxels', shown,
        'export it again')
  return fields, place


def data_file(path: pathlib.Path) -> str:
  """Returns the name of the file of the voxels; '' if it is the same file."""
  try:
    name = _read_header(path, '')[0]['elementdatafile']
  except pixels.WrongFile:
    return ''
  return name if name.upper() != 'LOCAL' and confined.is_name(name) else ''


def _numbers(fields, names, count, shown):
  """Returns the numbers of the first field that is there, or None."""
  for name in names:
    if name in fields:
      found = [float(v) for v in fields[name].split()]
      if len(found) != count or not np.isfinite(found).all():
        raise pixels.WrongFile(
            f'the header has no valid {name}', shown, 'correct the header')
      return found
  return None


def _is_true(fields, *names):
  return any(fields.get(n, '').lower() in ('true', '1', 't') for n in names)


def _check(fields, shown, is_lazy):
  """Returns the shape and the type of the voxels."""
  shape = tuple(int(v) for v in fields['dimsize'].split())
  if len(shape) != int(fields.get('ndims', len(shape))):
    raise pixels.WrongFile(
        'the header has not as many sizes as axes', shown, 'export it again')
  while len(shape) > 3 and shape[-1] == 1:
    shape = shape[:-1]
  if not 2 <= len(shape) <= 3:
    raise volumes.FurtherAxis(
        'expected two or three axes', f'{shown}: {len(shape)}',
        'save each time or channel as a file of its own')
  kind = _TYPES.get(fields.get('elementtype', '').upper())
  channels = int(fields.get('elementnumberofchannels', 1))
  if kind is None or channels != 1:
    raise pixels.WrongFile(
        'expected one real number a voxel',
        f'{shown}: {channels} of {fields.get("elementtype", "no type")[:20]}',
        'export magnitudes or labels')
  is_big = _is_true(fields, 'binarydatabyteordermsb', 'elementbyteordermsb')
  dtype = np.dtype(('>' if is_big else '<') + kind)
  stored_voxels.check_shape(
      shape, dtype, shown, max_bytes=volumes.MAX_LAZY_BYTES if is_lazy
      else volumes.MAX_BYTES)
  return shape, dtype


def _affine(fields, count, shown):
  """Returns the affine; each row of TransformMatrix is the direction of an
  axis.
  """
  # Axes of length 1 that were dropped still have their numbers.
  axes = len(fields['dimsize'].split())
  spacing = _numbers(
      fields, ('elementspacing', 'elementsize'), axes, shown) or [1.0] * axes
  origin = _numbers(
      fields, ('offset', 'position', 'origin'), axes, shown) or [0.0] * axes
  matrix = _numbers(
      fields, ('transformmatrix', 'rotation', 'orientation'), axes**2, shown)
  matrix = np.eye(axes) if matrix is None else np.reshape(matrix, (axes, axes))
  affine = np.eye(4)
  with np.errstate(all='ignore'):  # A damaged header may hold any number.
    affine[:count, :count] = (
        matrix * np.array(spacing)[:, None])[:count, :count].T
    affine[:count, 3] = origin[:count]
    affine[:3] *= _LPS[:, None]
  volumes.check_affine(affine, shown)
  return affine


def _layout(path, fields, length, shape, dtype, shown):
  """Returns where the values are."""
  coding = stored_voxels.RAW
  if _is_true(fields, 'compresseddata'):
    coding = stored_voxels.ZLIB
  elif 'binarydata' in fields and not _is_true(fields, 'binarydata'):
    coding = stored_voxels.TEXT
  name = fields['elementdatafile']
  if name.upper() == 'LOCAL':
    return stored_voxels.Layout(path, shape, dtype, coding, length)
  if (name.upper().startswith('LIST') or '%' in name
      or not confined.is_name(name) or confined.leads_out(path.parent, name)):
    raise pixels.WrongFile(
        'the voxels lie in several files, or outside of the folder', shown,
        'save header and voxels in one file, .mha')
  if not (path.parent / name).is_file():
    raise pixels.WrongFile(
        'the file that holds the voxels is missing', shown,
        'put it beside the header')
  start = int(fields.get('headersize', 0))
  return stored_voxels.Layout(
      path.parent / name, shape, dtype, coding, None if start == -1 else
      max(0, start))
