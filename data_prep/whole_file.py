"""Files that are written whole or not at all."""

from collections.abc import Iterator
import contextlib
import os
from typing import Any, IO


@contextlib.contextmanager
def open_whole(
    path: str | os.PathLike[str], mode: str = 'w', **options: Any
) -> Iterator[IO[Any]]:
  """Opens a file to write: a reader sees the old one, or all of the new one.

  Args:
    path: of the file.
    mode: 'w' or 'wb'.
    **options: of `open`.

  Yields:
    The file, under another name, which nothing is left of if it fails.

  Raises:
    OSError: if it cannot be written.
  """
  folder, name = os.path.split(os.path.abspath(path))
  temporary = os.path.join(folder, f'.{name}.tmp')
  try:
    with open(temporary, mode, **options) as file:
      yield file
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise
