"""Keeps bytes in a nameless temporary file, so that they take no memory."""

import os
import tempfile
import threading


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
