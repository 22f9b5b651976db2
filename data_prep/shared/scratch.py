"""Keeps data in nameless temporary files, so that they take no memory."""

from collections.abc import Sequence
import errno
import math
import mmap
import os
import tempfile
import threading
from typing import Any, Literal

import numpy as np


class Scratch:
  """Bytes in a temporary file, which vanishes with the object.

  Threads may add and read at the same time.
  """

  def __init__(self, folder: str | os.PathLike[str] | None = None):
    """Makes an empty file.

    Args:
      folder: folder on whose disk the bytes are kept; the file is not listed in
        it. None means the system's folder for temporary files.

    Raises:
      OSError: if the file cannot be made.
    """
    self._file = tempfile.TemporaryFile(dir=folder, buffering=0)
    self._lock = threading.Lock()
    self._end = 0

  def add(self, content: bytes) -> int:
    """Adds bytes at the end of the file, and returns where they start.

    Raises:
      OSError: if the disk is full.
    """
    with self._lock:
      place, self._end = self._end, self._end + len(content)
    view, number = memoryview(content), self._file.fileno()
    at = place
    while view:  # A nearly full disk may accept only a part of the bytes.
      written = os.pwrite(number, view, at)
      view, at = view[written:], at + written
    return place

  def read(self, place: int, length: int) -> bytes:
    """Returns `length` bytes that were added at `place`."""
    return os.pread(self._file.fileno(), length, place)


def make_array(
    shape: Sequence[int],
    dtype: Any,
    folder: str | os.PathLike[str] | None = None,
    *,
    order: Literal['C', 'F'] = 'C',
) -> np.ndarray:
  """Returns an array of zeros that lies on the disk, whose space is reserved.

  Args:
    shape: shape of the array.
    dtype: type of the array.
    folder: folder on whose disk it lies, as for `Scratch`. The file vanishes
      with the array.
    order: 'C' if the last axis lies together on the disk, 'F' if the first.

  Raises:
    OSError: if the disk is too full.
  """
  with tempfile.TemporaryFile(dir=folder) as file:
    _reserve(file, math.prod(map(int, shape)) * np.dtype(dtype).itemsize)
    return np.memmap(file, dtype, 'r+', shape=tuple(shape), order=order)


def release(array: np.ndarray) -> None:
  """Takes the pages of an array that lies on the disk out of memory.

  Otherwise, all pages that were ever used count as memory of this process until
  the system needs room. The values stay, and are read again when they are used.
  An array in memory, and a system that cannot do this, stay as they are.
  """
  owner: Any = array
  while isinstance(owner, np.ndarray):
    owner = owner.base
  if isinstance(owner, memoryview):
    owner = owner.obj
  if isinstance(owner, mmap.mmap) and hasattr(mmap, 'MADV_DONTNEED'):
    owner.madvise(mmap.MADV_DONTNEED)


def _reserve(file, size):
  """Reserves the space of an empty file on its disk.

  If the disk became full while the file is written through a memory map, the
  system would end the process with a bus error.

  Raises:
    OSError: if the disk is too full.
  """
  try:
    os.posix_fallocate(file.fileno(), 0, size)
    return
  except AttributeError:  # macOS lacks this function, and some disks do, too.
    pass
  except OSError as e:
    if e.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
      raise
  # Written zeros take space, unlike a hole.
  zeros = bytes(1 << 20)
  for start in range(0, size, len(zeros)):
    file.write(zeros[: size - start])
  file.flush()
