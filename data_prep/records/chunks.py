"""Stores volumes in chunks, and reads patches from the chunks that they meet.

A folder of chunks holds one ArrayRecord file per volume and `index.json`, which
lists the volumes. Files are independent: they can be written by several
machines, for instance by Apache Beam with a map over `write_volume`, whose
results `write_index` then joins. The same input gives the same bytes.

A volume has up to three fields on one grid: `image`, uint16 levels (see
`volumes.levels`), `label`, the annotation, and `truth`, the exact classes for
evaluation, both uint8 with 255 = unlabelled. A field is divided into chunks of
`chunk_size` voxels, of which the last along each axis may be smaller. Chunk
(x, y, z) of field f, of a grid of X x Y x Z chunks, is record

  ((f * Z + z) * X + x) * Y + y.

A record is a header of 32 bytes and the voxels in C order, little-endian. The
header is b'HSV1', the number of the field in `FIELDS`, the bytes per voxel, the
first voxel and the shape of the chunk, as `_HEADER` packs them. The last record
holds positions of labelled objects, int32 [N, 4] of class and voxel, from which
training draws patches that show objects.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import errno
import hashlib
import itertools
import json
import math
import os
import pathlib
import struct
import threading
from typing import Any, NamedTuple

from array_record.python import array_record_module
from hybridseg import types
import numpy as np

from data_prep.shared import whole_file

INDEX = 'index.json'
# Version 2 has volumes that are divided into slabs, see `annotated_slabs`.
VERSIONS = (1, 2)
FIELDS = ('image', 'label', 'truth')
SLABS = 'slabs'  # Name of the slabs of a volume in the index.

_DTYPES = {'image': np.dtype('<u2'), 'label': np.dtype('u1'),
           'truth': np.dtype('u1')}
_HEADER = struct.Struct('<4sBBxx6I')
_MAGIC = b'HSV1'
_MAX_LOCATIONS = 1024  # Positions that are kept of each class.

Triple = tuple[int, int, int]
# Returns the voxels of a field from one voxel of the last axis to another one.
Slab = Callable[[int, int], np.ndarray]


class Volume(NamedTuple):
  """One volume in a folder of chunks.

  Attributes:
    id: unique name of the volume.
    file: name of its file in the folder.
    sha256: SHA-256 of this file.
    shape: number of voxels along each axis.
    fields: names of the fields that it has, of `FIELDS`.
    fill: level that stands for image voxels outside of the volume; it is the
      lowest level in the volume.
    voxels: number of voxels of each class of `label`, by class; 255 is
      unlabelled.
    more: what else is known, such as subject, split and geometry. It holds only
      what JSON can store.
  """

  id: str
  file: str
  sha256: str
  shape: Triple
  fields: tuple[str, ...]
  fill: int
  voxels: dict[int, int]
  more: dict[str, Any]


def write_volume(
    folder: str | os.PathLike[str],
    file: str,
    fields: Mapping[str, Slab],
    *,
    volume_id: str,
    shape: Triple,
    chunk_size: Triple,
    more: Mapping[str, Any] | None = None,
) -> Volume:
  """Writes one volume, completely or not at all.

  Only one slab of `chunk_size[2]` voxels along the last axis is in memory.

  Args:
    folder: the folder of chunks, which must exist.
    file: name of the file to write.
    fields: for each field, a function that returns a slab of it: uint16 or
      uint8 [*shape[:2], stop - start].
    volume_id: unique name of the volume.
    shape: number of voxels along each axis.
    chunk_size: size of the chunks, the same for all volumes of a folder.
    more: see `Volume`.

  Raises:
    ValueError: if a slab has another type or shape.
    OSError: if the file cannot be written.
  """
  path = pathlib.Path(folder) / file
  unfinished = f'{path}.{os.getpid()}.unfinished'
  names = tuple(name for name in FIELDS if name in fields)
  found = _Found()
  try:
    writer = array_record_module.ArrayRecordWriter(unfinished, 'group_size:1')
    try:
      for name in names:
        for record in _records(name, fields[name], shape, chunk_size, found):
          writer.write(record)
      writer.write(found.locations().tobytes())
    finally:
      writer.close()
    with open(unfinished, 'rb') as stream:
      digest = hashlib.file_digest(stream, 'sha256').hexdigest()
    os.replace(unfinished, path)
  except RuntimeError as error:
    # ArrayRecord reports a full disk with the message of the system.
    full = os.strerror(errno.ENOSPC)
    if full not in str(error):
      raise
    raise OSError(errno.ENOSPC, full, str(path)) from error
  finally:
    pathlib.Path(unfinished).unlink(missing_ok=True)
  return Volume(
      volume_id, file, digest, tuple(shape), names, found.fill or 0,
      dict(sorted(found.counts.items())), dict(more or {}))


def _records(name, slab_of, shape, chunk_size, found):
  """Yields the records of one field, one slab of chunks after the other."""
  dtype = _DTYPES[name]
  for start in range(0, shape[2], chunk_size[2]):
    stop = min(start + chunk_size[2], shape[2])
    slab = slab_of(start, stop)
    if slab.dtype != dtype or slab.shape != (*shape[:2], stop - start):
      raise ValueError(
          f'Expected {dtype} {(*shape[:2], stop - start)} of {name}, got '
          f'{slab.dtype} {slab.shape}.')
    found.see(name, slab, start)
    for x, y in itertools.product(
        range(0, shape[0], chunk_size[0]), range(0, shape[1], chunk_size[1])):
      chunk = slab[x : x + chunk_size[0], y : y + chunk_size[1]]
      header = _HEADER.pack(
          _MAGIC, FIELDS.index(name), dtype.itemsize, x, y, start, *chunk.shape)
      yield header + np.ascontiguousarray(chunk, dtype).tobytes()


class _Found:
  """Collects what is found in the slabs of a volume while it is written."""

  def __init__(self):
    self.fill = None
    self.counts = {}
    self._kept = {}  # Maps a class to step, number seen, and positions.

  def see(self, name, slab, start):
    """Looks at a slab whose first voxel along the last axis is `start`."""
    if name == 'image':
      low = int(slab.min())
      self.fill = low if self.fill is None else min(self.fill, low)
    elif name == 'label':
      for value, count in zip(
          *np.unique(slab, return_counts=True), strict=True):
        value = int(value)
        self.counts[value] = self.counts.get(value, 0) + int(count)
        if value not in (0, types.UNLABELLED):
          self._keep(value, slab, start)

  def _keep(self, value, slab, start):
    """Keeps every nth position of a class, so that they are evenly spread."""
    # The order is that of the slabs, whatever their thickness.
    new = np.argwhere(np.moveaxis(slab, 2, 0) == value)[:, [1, 2, 0]]
    new[:, 2] += start
    step, seen, kept = self._kept.get(value, (1, 0, np.zeros((0, 3), int)))
    kept = np.concatenate([kept, new[-seen % step :: step]])
    seen += len(new)
    while len(kept) > _MAX_LOCATIONS:
      kept, step = kept[::2], 2 * step
    self._kept[value] = step, seen, kept

  def locations(self):
    """Returns classes and positions, int32 [N, 4]."""
    rows = [np.insert(kept, 0, value, 1)
            for value, (_, _, kept) in sorted(self._kept.items())]
    return np.concatenate([np.zeros((0, 4), int), *rows]).astype('<i4')


def write_index(
    folder: str | os.PathLike[str],
    volumes: Sequence[Volume],
    *,
    chunk_size: Triple,
    more: Mapping[str, Any] | None = None,
) -> None:
  """Writes `index.json`, whose first line holds the checksum of the others.

  Args:
    folder: the folder of chunks.
    volumes: the volumes in the folder.
    chunk_size: size of their chunks.
    more: what else is known of the set, such as its name and its classes.
  """
  version = 2 if any(SLABS in volume.more for volume in volumes) else 1
  head = {'chunks_version': version, 'chunk_size': list(chunk_size),
          **(more or {})}
  lines = [f'{json.dumps(k)}: {json.dumps(v, sort_keys=True)}'
           for k, v in head.items()]
  rows = ',\n'.join(
      json.dumps(volume._asdict(), sort_keys=True) for volume in volumes)
  with whole_file.open_whole(
      pathlib.Path(folder) / INDEX, encoding='utf-8') as file:
    rest = ',\n'.join(lines) + f',\n"volumes": [\n{rows}\n]}}\n'
    file.write(f'{{"sha256": "{_digest(rest)}",\n{rest}')


def _digest(text):
  return hashlib.sha256(text.encode()).hexdigest()


class Reader:
  """Reads patches of the volumes in a folder of chunks.

  The first patch of a volume also reads its whole file once, for its checksum.
  Several threads may read at the same time.

  Attributes:
    volumes: the volumes by id, in the order of the index.
    chunk_size: size of the chunks.
    more: what else the index holds of the set.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    """Reads the index of a folder.

    Raises:
      ValueError: if the index is damaged; the message is one line.
      OSError: if it cannot be read.
    """
    self._folder = pathlib.Path(folder)
    self._open = {}
    self._lock = threading.Lock()
    try:
      text = (self._folder / INDEX).read_text(encoding='utf-8')
      fields = json.loads(text)
      if fields.pop('sha256') != _digest(text.partition('\n')[2]):
        raise ValueError('damaged or edited')
      if fields.pop('chunks_version') not in VERSIONS:
        raise ValueError('another version')
      self.chunk_size = tuple(fields.pop('chunk_size'))
      rows = [Volume(**row) for row in fields.pop('volumes')]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
      raise ValueError(
          f'{INDEX} of {self._folder} cannot be used ({error!r}'[:120]
          + '); prepare the set again') from error
    self.more = fields
    self.volumes = {row.id: row._replace(
        shape=tuple(row.shape), fields=tuple(row.fields),
        voxels={int(k): n for k, n in row.voxels.items()}) for row in rows}

  def read_patch(
      self,
      volume_id: str,
      start: Sequence[int],
      size: Sequence[int],
      field: str = 'image',
  ) -> np.ndarray:
    """Reads a patch, and only the chunks that it meets.

    The patch may extend beyond the volume, or lie outside of it. There, the
    image has the level `Volume.fill`, and label and truth are 255, so that no
    loss counts there.

    Args:
      volume_id: id of the volume.
      start: first voxel of the patch along each axis; may be negative.
      size: number of voxels along each axis.
      field: one of `FIELDS` that the volume has.

    Returns:
      uint16 or uint8 [*size].

    Raises:
      KeyError: if there is no such volume or field.
      ValueError: if a chunk is damaged; the message is one line.
    """
    volume = self.volumes[volume_id]
    if field not in volume.fields:
      raise KeyError(f'{volume_id} has no {field}.')
    fill = volume.fill if field == 'image' else types.UNLABELLED
    patch = np.full(tuple(size), fill, _DTYPES[field].newbyteorder('='))
    origins = list(self._origins(volume, start, size))
    numbers = [self._number(volume, field, origin) for origin in origins]
    if not numbers:
      return patch
    for record, number, origin in zip(
        self._records(volume, numbers), numbers, origins, strict=True):
      chunk = self._parse(volume, field, number, origin, record)
      inside, outside = [], []
      for o, n, s, m in zip(origin, chunk.shape, start, size, strict=True):
        low, high = max(o, s), min(o + n, s + m)
        inside.append(slice(low - o, high - o))
        outside.append(slice(low - s, high - s))
      patch[tuple(outside)] = chunk[tuple(inside)]
    return patch

  def locations(self, volume_id: str) -> np.ndarray:
    """Returns positions of labelled objects, int32 [N, 4].

    Each row is a class and the voxel (x, y, z). There are up to 1024 of each
    class, evenly spread over all voxels of this class in `label`.
    """
    volume = self.volumes[volume_id]
    number = len(volume.fields) * math.prod(self._grid(volume))
    record, = self._records(volume, [number])
    return np.frombuffer(record, '<i4').astype(np.int32).reshape(-1, 4)

  def _grid(self, volume):
    return tuple(-(-n // c) for n, c in zip(
        volume.shape, self.chunk_size, strict=True))

  def _origins(self, volume, start, size) -> Iterator[Triple]:
    """Yields the first voxels of the chunks that a patch meets."""
    ranges = []
    for n, c, s, m in zip(
        volume.shape, self.chunk_size, start, size, strict=True):
      low, high = max(0, s), min(n, s + m)
      ranges.append(range(low // c * c, high, c) if low < high else ())
    return itertools.product(*ranges)

  def _number(self, volume, field, origin):
    """Returns the number of the record of a chunk, see the module."""
    columns, rows, layers = self._grid(volume)
    x, y, z = (o // c for o, c in zip(origin, self.chunk_size, strict=True))
    f = volume.fields.index(field)
    return ((f * layers + z) * columns + x) * rows + y

  def _records(self, volume, numbers):
    with self._lock:
      try:
        if volume.file not in self._open:
          path = self._folder / volume.file
          # ArrayRecord would not notice the intact file of another volume.
          with open(path, 'rb') as file:
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
          if digest != volume.sha256:
            raise ValueError('another file')
          self._open[volume.file] = array_record_module.ArrayRecordReader(
              str(path), 'readahead_buffer_size:0')
        return self._open[volume.file].read(numbers)
      except (OSError, RuntimeError, IndexError, ValueError) as error:
        raise self._damaged(volume, numbers[0]) from error

  def _parse(self, volume, field, number, origin, record):
    """Returns the chunk in a record; refuses one that is not as expected."""
    shape = tuple(min(c, n - o) for o, c, n in zip(
        origin, self.chunk_size, volume.shape, strict=True))
    dtype = _DTYPES[field]
    header = _HEADER.pack(
        _MAGIC, FIELDS.index(field), dtype.itemsize, *origin, *shape)
    if not record.startswith(header) or (
        len(record) != len(header) + math.prod(shape) * dtype.itemsize):
      raise self._damaged(volume, number)
    return np.frombuffer(record, dtype, offset=len(header)).reshape(shape)

  def _damaged(self, volume, number):
    return ValueError(
        f'record {number} of {self._folder / volume.file} is damaged or of '
        'another set; prepare the set again')
