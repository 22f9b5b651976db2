"""Reads NRRD files (http://teem.sourceforge.net/nrrd/format.html) as volumes.

A file has a header of text, `field: value` and `key:=value`, then the voxels,
or the name of the file that holds them. 3D Slicer writes its segmentations as
NRRD whose keys name the segments.

pynrrd 1.1.3 cannot read headers in place of this module: it drops letters
outside of ASCII (a segment called ü has no name), keeps escapes, and stops at
fields that are not needed here, in 404 of 2616 damaged headers that are read.
It would save about 40 lines, since the geometry, the refusals and voxels that
stay on the disk are ours in any case; SimpleITK reads no bzip2.
"""

import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from data_prep.formats import segments
from data_prep.formats import stored_voxels
from data_prep.formats import volumes
from data_prep.shared import confined
from data_prep.shared import pixels
from data_prep.shared import volume_type

_TYPES = {
    'i1': ('signed char', 'int8', 'int8_t'),
    'u1': ('uchar', 'unsigned char', 'uint8', 'uint8_t'),
    'i2': ('short', 'short int', 'signed short', 'signed short int', 'int16',
           'int16_t'),
    'u2': ('ushort', 'unsigned short', 'unsigned short int', 'uint16',
           'uint16_t'),
    'i4': ('int', 'signed int', 'int32', 'int32_t'),
    'u4': ('uint', 'unsigned int', 'uint32', 'uint32_t'),
    'i8': ('longlong', 'long long', 'long long int', 'signed long long',
           'signed long long int', 'int64', 'int64_t'),
    'u8': ('ulonglong', 'unsigned long long', 'unsigned long long int',
           'uint64', 'uint64_t'),
    'f4': ('float',), 'f8': ('double',)}
_DTYPES = {name: code for code, names in _TYPES.items() for name in names}
_CODINGS = {
    'raw': stored_voxels.RAW, 'gzip': stored_voxels.GZIP,
    'gz': stored_voxels.GZIP, 'bzip2': stored_voxels.BZIP2,
    'bz2': stored_voxels.BZIP2, 'txt': stored_voxels.TEXT,
    'text': stored_voxels.TEXT, 'ascii': stored_voxels.TEXT}
# Signs that turn the directions of a space to right, front and top. Those whose
# axes are not named after the patient are taken as left, back and top, as ITK
# does.
_SPACES = {
    'right-anterior-superior': (1, 1, 1), 'ras': (1, 1, 1),
    'left-anterior-superior': (-1, 1, 1), 'las': (-1, 1, 1),
    'left-posterior-superior': (-1, -1, 1), 'lps': (-1, -1, 1)}
_LPS = (-1, -1, 1)
_UNITS_MM = {'m': 1e3, 'cm': 10.0, 'um': 1e-3, 'µm': 1e-3, 'nm': 1e-6,
             'meter': 1e3, 'metre': 1e3, 'micron': 1e-3}
_SPATIAL = ('domain', 'space')
_KEY = re.compile(r'Segment(\d{1,5})_(\w+)')
_ESCAPED = re.compile(r'\\([\\n])')


class Header(NamedTuple):
  """The header of a file.

  Attributes:
    fields: value of each field, by its name in lower case without spaces.
    keys: value of each key.
    length: number of bytes up to the voxels.
  """

  fields: dict[str, str]
  keys: dict[str, str]
  length: int


class Segment(NamedTuple):
  """One segment of a segmentation of 3D Slicer.

  Attributes:
    name: its name.
    value: the value of its voxels.
    layer: number of the layer that holds them.
  """

  name: str
  value: int
  layer: int


class Opened(NamedTuple):
  """A file before it becomes a volume.

  Attributes:
    layers: stored values, [L, A, B, C]; L is 1 if the file has one layer.
    affine: see `volume_type.Volume`.
    notices: oddities of the file.
  """

  layers: np.ndarray
  affine: np.ndarray
  notices: tuple[str, ...]


def read_header(path: pathlib.Path) -> Header:
  """Reads the header of a file.

  Raises:
    pixels.WrongFile: if it has none.
  """
  shown = pixels.tail(path.name)
  with volumes.explaining_file(shown), open(path, 'rb') as file:
    pixels.check_not_empty(path, shown)
    content = file.read(stored_voxels.MAX_HEADER)
  if not content.startswith(b'NRRD000'):
    raise pixels.WrongFile(
        'it is not NRRD', f'{shown} starts with {ascii(content[:4])[:30]}',
        'export it as .nrrd')
  end = re.search(rb'\r?\n\r?\n', content)
  if end is None and len(content) == stored_voxels.MAX_HEADER:
    raise pixels.WrongFile(
        'the header has no end', shown, 'copy or export it again')
  text = content[: end.start() if end else len(content)].decode(
      'utf-8', 'replace')
  fields, keys = {}, {}
  for line in text.splitlines()[1:]:
    key = line.split(':=', 1)
    field = line.split(': ', 1)
    if line.startswith('#'):
      continue
    if len(key) == 2 and len(key[0]) < len(field[0]):
      keys[key[0]] = _ESCAPED.sub(
          lambda match: '\n' if match[1] == 'n' else match[1], key[1])
    elif len(field) == 2:
      name = field[0].strip().lower().replace(' ', '')
      if name not in ('datafile', 'content'):
        fields[name] = field[1].strip()
      elif name == 'datafile':
        fields[name] = field[1]
  return Header(fields, keys, end.end() if end else len(content))


def segments_of(header: Header) -> list[Segment]:
  """Returns the segments that the keys of 3D Slicer name; [] if none.

  Versions before 4.11 write neither value nor layer: there, each segment is a
  layer of its own, in which its voxels are 1.
  """
  found: dict[int, dict[str, str]] = {}
  for key, value in header.keys.items():
    match = _KEY.fullmatch(key)
    if match:
      found.setdefault(int(match[1]), {})[match[2]] = value
  result = []
  for number, keys in sorted(found.items()):
    if 'Name' not in keys and 'ID' not in keys:
      continue
    name = segments.clean(keys.get('Name', '')) or segments.clean(
        keys.get('ID', '')) or f'segment_{number}'
    try:
      value = int(keys.get('LabelValue', 1))
      layer = int(keys.get('Layer', len(result)))
    except ValueError as error:
      raise pixels.WrongFile(
          'value or layer of a segment is not a number', name[:40],
          'save the segmentation again') from error
    result.append(Segment(name, value, layer))
  return result


def read_nrrd(
    path: pathlib.Path,
    *,
    is_lazy: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> volume_type.Volume:
  """Reads a .nrrd or .nhdr file of a volume with three axes.

  Further axes of length 1 are dropped. The names are those of the segments if
  the file is a segmentation of one layer.

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
    header = read_header(path)
    opened = open_layers(path, header, is_lazy=is_lazy, folder=folder)
    if len(opened.layers) != 1:
      raise volumes.FurtherAxis(
          'expected three axes', f'{shown}: {len(opened.layers)} values a '
          'voxel', 'save each time or channel as a file of its own')
    names = {s.value: s.name for s in segments_of(header)}
    return volume_type.Volume(
        stored_voxels.to_voxels(opened.layers[0], is_lazy=is_lazy),
        opened.affine, names, notices=opened.notices)


def open_layers(
    path: pathlib.Path,
    header: Header,
    *,
    is_lazy: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> Opened:
  """Reads the values and the geometry of a file.

  Args:
    path: the file.
    header: its header.
    is_lazy: whether the values stay on the disk, see `stored_voxels.load`.
    folder: see `stored_voxels.load`.

  Raises:
    pixels.WrongFile: if the file cannot be used.
  """
  shown, fields = pixels.tail(path.name), header.fields
  sizes = _integers(fields, 'sizes', shown)
  if len(sizes) != _integers(fields, 'dimension', shown)[0]:
    raise pixels.WrongFile(
        'the header has not as many sizes as axes', shown, 'export it again')
  kind = _DTYPES.get(fields.get('type', '').lower())
  if kind is None:
    raise pixels.WrongFile(
        'expected voxels that are real numbers',
        f'{shown}: {fields.get("type", "no type")[:20]}',
        'export magnitudes or labels')
  order = {'little': '<', 'big': '>'}.get(fields.get('endian', '').lower(), '')
  if not order and kind[1] != '1' and fields.get('encoding') not in (
      'txt', 'text', 'ascii'):
    raise pixels.WrongFile(
        'the header names no byte order', shown, 'export it again')
  dtype = np.dtype(order + kind)
  stored_voxels.check_shape(
      tuple(sizes), dtype, shown, max_bytes=volumes.MAX_LAZY_BYTES if is_lazy
      else volumes.MAX_BYTES)
  notices = []
  with np.errstate(all='ignore'):  # A damaged header may hold any number.
    spatial, affine = _geometry(fields, sizes, shown, notices)
  array = stored_voxels.load(
      _layout(path, header, tuple(sizes), dtype, shown), shown,
      is_lazy=is_lazy, folder=folder)
  others = [i for i in range(len(sizes)) if i not in spatial]
  array = array.transpose(*others, *spatial)
  shape = array.shape[len(others):] + (1,) * (3 - len(spatial))
  return Opened(array.reshape(-1, *shape), affine, tuple(notices))


def _integers(fields, name, shown):
  try:
    found = [int(v) for v in fields[name].split()]
    if found and all(abs(v) < 2**40 for v in found) and len(found) <= 16:
      return found
  except (KeyError, ValueError):
    pass
  raise pixels.WrongFile(
      f'the header has no valid {name}', shown, 'export it again')


def _layout(path, header, sizes, dtype, shown):
  """Returns where the values are."""
  fields = header.fields
  coding = _CODINGS.get(fields.get('encoding', '').lower())
  if coding is None:
    raise pixels.WrongFile(
        'expected the encoding raw, gzip, bzip2 or ascii',
        f'{shown}: {fields.get("encoding", "none")[:20]}', 'save it again')
  skipped = {n: int(fields.get(n, 0)) for n in ('lineskip', 'byteskip')}
  start = header.length
  file = fields.get('datafile')
  if file is not None:
    file = file.strip()
    if file.startswith('LIST') or '%' in file or not confined.is_name(
        file) or confined.leads_out(path.parent, file):
      raise pixels.WrongFile(
          'the voxels lie in several files, or outside of the folder', shown,
          'save header and voxels in one file, .nrrd')
    path, start = path.parent / file, 0
    if not path.is_file():
      raise pixels.WrongFile(
          'the file that holds the voxels is missing', shown,
          'put it beside the header')
  if skipped['byteskip'] == -1 and coding == stored_voxels.RAW:
    return stored_voxels.Layout(path, sizes, dtype, coding, None)
  if skipped['lineskip'] or skipped['byteskip'] < 0:
    raise pixels.WrongFile(
        'a line skip, or a byte skip below 0, is not read', shown,
        'save it again')
  return stored_voxels.Layout(
      path, sizes, dtype, coding, start, skipped['byteskip'])


def data_files(path: pathlib.Path) -> tuple[str, ...]:
  """Returns the names of further files that a header refers to."""
  try:
    file = read_header(path).fields.get('datafile', '').strip()
  except pixels.WrongFile:
    return ()
  return (file,) if file and confined.is_name(file) else ()


def _vector(text, length, shown):
  """Returns the numbers of a vector such as (1,0,0); None for 'none'."""
  if text == 'none':
    return None
  found = [float(v) for v in text.strip('()').split(',')]
  if len(found) != length or not np.isfinite(found).all():
    raise pixels.WrongFile(
        'a direction or origin is not of three numbers', shown,
        'correct the header')
  return np.array(found)


def _geometry(fields, sizes, shown, notices):
  """Returns the axes in space, three or fewer, and the affine."""
  space = fields.get('space', '').lower().removesuffix('-time')
  count = 3 if space else int(fields.get('spacedimension', 0) or 0)
  vectors = re.findall(
      r'none|\([^)]*\)', fields.get('spacedirections', '').lower())
  if vectors and (len(vectors) != len(sizes) or count not in (2, 3)):
    raise pixels.WrongFile(
        'the header has not as many space directions as axes', shown,
        'export it again')
  if vectors:
    directions = [_vector(v, count, shown) for v in vectors]
    spatial = [i for i, d in enumerate(directions) if d is not None]
    columns = [directions[i] for i in spatial]
  else:
    kinds = fields.get('kinds', '').lower().split()
    kinds = kinds if len(kinds) == len(sizes) else ['domain'] * len(sizes)
    spatial = [i for i, kind in enumerate(kinds)
               if kind in (*_SPATIAL, '???', 'none')]
    # Axes of length 1 at the end are no axes in space if there are too many.
    while len(spatial) > 3 and sizes[spatial[-1]] == 1:
      spatial.pop()
    spacings = [float(v) for v in fields.get('spacings', '').split()]
    if len(spacings) != len(sizes):
      spacings = [1.0] * len(sizes)
    columns = [abs(spacings[i]) if np.isfinite(spacings[i]) else 1.0
               for i in spatial]
    columns = list(np.diag(columns))
    notices.append('the header states no directions: axes are read as left, '
                   'back, top')
  if not 2 <= len(spatial) <= 3:
    raise volumes.FurtherAxis(
        'expected two or three axes in space', f'{shown}: {len(spatial)}',
        'save each time or channel as a file of its own')
  affine = np.eye(4)
  for i, column in enumerate(columns):
    affine[: len(column), i] = column
  if len(columns) == 2 and count == 3:  # One slice, anywhere in space.
    normal = np.cross(*columns)
    affine[:3, 2] = normal / max(np.linalg.norm(normal), 1e-12)
  if fields.get('spaceorigin'):
    origin = _vector(fields['spaceorigin'], count or len(columns), shown)
    if origin is not None:
      affine[: len(origin), 3] = origin
  _convert(affine, space, fields, shown, notices)
  return spatial, affine


def _convert(affine, space, fields, shown, notices):
  """Turns an affine to right, front, top and mm; refuses singular ones."""
  if space and space not in _SPACES:
    notices.append('the space of the header is not that of a patient: its axes '
                   'are read as left, back, top')
  affine[:3] *= np.array(_SPACES.get(space, _LPS))[:, None]
  units = re.findall(r'"([^"]*)"', fields.get('spaceunits', ''))
  scales = {_UNITS_MM.get(u.lower(), 1.0) for u in units}
  if len(scales) == 1 and scales != {1.0}:
    affine[:3] *= scales.pop()
    notices.append('the header counts in another unit than mm: mm are used')
  volumes.check_affine(affine, shown)
