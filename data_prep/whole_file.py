"""Files and folders that are written whole or not at all."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil
import tempfile
from typing import Any, IO

from data_prep import system_errors


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
    with system_errors.naming(path):
      with open(temporary, mode, **options) as file:
        yield file
      os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


@contextlib.contextmanager
def folder_beside(output: pathlib.Path) -> Iterator[pathlib.Path]:
  """Makes a folder to fill, and to be renamed to `output` when it is whole.

  Args:
    output: absolute; its parent is there.

  Yields:
    A folder on the same disk; what is left of it is removed.

  Raises:
    OSError: if it cannot be made.
  """
  temporary = pathlib.Path(
      tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.'))
  try:
    os.chmod(temporary, 0o755)  # mkdtemp shuts out everybody else.
    with system_errors.naming(output):
      yield temporary
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
