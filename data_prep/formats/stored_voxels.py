"""Reads voxels that a file stores as plain numbers, compressed or not.

NRRD and MetaImage do so, behind a header of text. The number of values is known
from the header, so that no damaged file can make a reader exceed its memory.
"""

import bz2
from collections.abc import Callable, Iterator
import contextlib
import gzip
import mmap
import os
import pathlib
import tempfile
from typing import NamedTuple
import zlib

import numpy as np

from data_prep.formats import volumes
from data_prep.shared import pixels
from data_prep.shared import scratch
from data_prep.shared import volume_type

RAW, GZIP, ZLIB, BZIP2, TEXT = 'raw', 'gzip', 'zlib', 'bzip2', 'text'

MAX_HEADER = 2**22  # Largest number of bytes of a header of text.

_STREAMED = 2**22
_LONGEST = 40  # Largest number of characters of a value that is text.


class Layout(NamedTuple):
  """Where the values of a file are, and how they are stored.

  Attributes:
    path: file of the values.
    shape: number of values along each axis, the fastest first.
    dtype: type of the values, with its byte order.
    coding: one of the codings of this module.
    start: number of bytes before the values; None if they are the last ones.
    skip: number of bytes before the values, after decompression.
  """

  path: pathlib.Path
  shape: tuple[int, ...]
  dtype: np.dtype
  coding: str = RAW
  start: int | None = 0
  skip: int = 0

  @property
  def num_bytes(self) -> int:
    return int(np.prod([int(n) for n in self.shape], dtype=object)
               ) * self.dtype.itemsize


class _ZlibFile:
  """Reads a stream of zlib, as `gzip.GzipFile` reads one of gzip."""

  def __init__(self, file):
    self._file, self._left = file, b''
    self._inflate = zlib.decompressobj()

  def read(self, size: int) -> bytes:
    while not self._inflate.eof:
      content = self._left or self._file.read(_STREAMED)
      if not content:
        raise EOFError('the stream has no end')
      found = self._inflate.decompress(content, size)
      self._left = self._inflate.unconsumed_tail
      if found:
        return found
    return b''


_STREAMS: dict[str, Callable] = {
    RAW: lambda file: file,
    TEXT: lambda file: file,
    GZIP: lambda file: gzip.GzipFile(fileobj=file),
    ZLIB: _ZlibFile,
    BZIP2: bz2.BZ2File,
}


def check_shape(
    shape: tuple[int, ...], dtype: np.dtype, shown: str, *, max_bytes: int
) -> None:
  """Refuses axes of length below 1, and more voxels than are read.

  Args:
    shape: length of each axis.
    dtype: type of the values.
    shown: name of the file, for messages.
    max_bytes: largest number of bytes of the voxels.

  Raises:
    pixels.WrongFile: if the shape is refused.
  """
  text = ' x '.join(map(str, shape))[:60]
  if not shape or min(shape) < 1:
    raise pixels.WrongFile(
        'an axis of length below 1', f'{shown}: {text}', 'export it again')
  count = int(np.prod([int(n) for n in shape], dtype=object))
  if max(2, dtype.itemsize) * count > max_bytes:
    raise pixels.WrongFile(
        f'the header declares more than {max_bytes >> 20} MiB',
        f'{shown}: {text}', 'crop it or cut it into slices')


def load(
    layout: Layout,
    shown: str,
    *,
    is_lazy: bool = False,
    folder: str | os.PathLike[str] | None = None,
) -> np.ndarray:
  """Reads the values of a file.

  Args:
    layout: where the values are; its shape has been checked.
    shown: name of the file, for messages.
    is_lazy: whether the values stay on the disk. What is compressed is first
      decompressed into a nameless temporary file.
    folder: folder on whose disk this file lies; None means the system's folder
      for temporary files.

  Returns:
    Values of the shape of the layout, with its type.

  Raises:
    pixels.WrongFile: if the file holds fewer values, or is damaged.
    OSError: if the disk is full.
  """
  with _explaining(shown):
    with open(layout.path, 'rb') as file:
      if layout.coding == TEXT:
        return _parse(file, layout, shown)
      if layout.coding == RAW:
        content, start = _raw(file, layout, is_lazy)
      else:
        file.seek(layout.start or 0)
        stream = _STREAMS[layout.coding](file)
        content, start = _decompress(stream, layout, shown, is_lazy, folder)
  count = layout.num_bytes // layout.dtype.itemsize
  if start < 0 or len(content) - start < layout.num_bytes:
    raise pixels.WrongFile(
        'the file is shorter than its header says, '
        f'{" x ".join(map(str, layout.shape))[:40]}',
        f'{shown}: {max(0, len(content) - max(0, start))} bytes',
        'copy or export it again')
  return np.frombuffer(content, layout.dtype, count, start).reshape(
      layout.shape, order='F')


@contextlib.contextmanager
def _explaining(shown):
  """Explains errors of the system and of compressed streams."""
  try:
    with volumes.explaining_file(shown):
      yield
  except (ValueError, OverflowError) as error:  # mmap refuses an empty file.
    raise pixels.WrongFile(
        'the voxels cannot be read', shown, 'copy or export it again'
    ) from error


def _raw(file, layout, is_lazy):
  """Returns bytes of an open file, and the offset of its values in them."""
  size = os.fstat(file.fileno()).st_size
  start = size - layout.num_bytes if layout.start is None else (
      layout.start + layout.skip)
  if is_lazy:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), start
  file.seek(max(0, start))
  return file.read(layout.num_bytes), min(0, start)


def _decompress(stream, layout, shown, is_lazy, folder):
  """Returns decompressed bytes, and the offset of the values in them."""
  wanted, length = layout.skip + layout.num_bytes, 0
  target = tempfile.TemporaryFile(dir=folder) if is_lazy else None
  parts = []
  while content := stream.read(_STREAMED):
    length += len(content)
    if length > wanted:
      raise pixels.WrongFile(
          'the file holds more voxels than its header says', shown,
          'export it again')
    if target is None:
      parts.append(content)
    else:
      target.write(content)
  if target is None:
    return b''.join(parts), layout.skip
  with target:
    target.flush()
    return mmap.mmap(target.fileno(), 0, access=mmap.ACCESS_READ), layout.skip


def _parse(file, layout, shown):
  """Returns values that are stored as text."""
  count = layout.num_bytes // layout.dtype.itemsize
  file.seek((layout.start or 0) + layout.skip)
  words = file.read(_LONGEST * count + 1).split(maxsplit=count)[:count]
  if len(words) < count:
    raise pixels.WrongFile(
        'the file is shorter than its header says', shown,
        'copy or export it again')
  kind = int if layout.dtype.kind in 'ui' else float
  values = [kind(w) for w in words]
  limits = np.iinfo(layout.dtype) if layout.dtype.kind in 'ui' else None
  if limits and not all(limits.min <= v <= limits.max for v in values):
    raise pixels.WrongFile(
        'a voxel does not fit the type that the header names', shown,
        'export it again')
  return np.array(values, layout.dtype).reshape(layout.shape, order='F')


def to_voxels(
    array: np.ndarray, *, is_lazy: bool
) -> volume_type.Voxels:
  """Returns three axes of loaded values as the voxels of a volume.

  Args:
    array: stored values, [A, B, C].
    is_lazy: whether the values stay on the disk until a block is read.
  """
  native = array.dtype.newbyteorder('=')
  if not is_lazy:
    return array.astype(native, copy=False)

  def read(block):
    voxels = array[block].astype(native)
    scratch.release(array)
    return voxels

  return volume_type.Lazy(array.shape, native, read)


def planes(array: np.ndarray, dtype: np.dtype) -> Iterator[bytes]:
  """Yields the bytes of an array to be stored, plane by plane.

  The first axis is the fastest; of K numbers a voxel, K is.

  Args:
    array: [A, B, C] or [A, B, C, K]; there are C planes.
    dtype: type in which the numbers are stored.
  """
  for k in range(array.shape[2]):
    plane = array[:, :, k].astype(dtype)
    yield (np.moveaxis(plane, -1, 0) if plane.ndim == 3 else plane).tobytes('F')
