"""Writes files and folders whole or not at all."""

from collections.abc import Iterator
import contextlib
import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import sys
import tempfile
from typing import Any, IO

from data_prep.shared import system_errors


def follow_no_link(path: str | os.PathLike[str], flags: int) -> int:
  """Opens a file unless its path is a link; for `open(opener=...)`.

  In a folder that belongs to somebody else, a link may lead to any of the
  user's files.

  Raises:
    OSError: if the path is a link or cannot be opened.
  """
  return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def sync(file: IO[Any]) -> None:
  """Waits until everything written to an open file is on the disk."""
  file.flush()
  os.fsync(file.fileno())


def sync_folder(folder: str | os.PathLike[str]) -> None:
  """Waits until the list of file names of a folder is on the disk."""
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def open_whole(
    path: str | os.PathLike[str], mode: str = 'w', **options: Any
) -> Iterator[IO[Any]]:
  """Opens a file for writing; until it is complete, readers see the old file.

  Args:
    path: the file.
    mode: 'w' or 'wb'.
    **options: passed on to `open`.

  Yields:
    The file under a temporary name. At the end, the file is renamed to `path`;
    if writing fails, it is removed.

  Raises:
    OSError: if the file cannot be written.
  """
  folder, name = os.path.split(os.path.abspath(path))
  temporary = os.path.join(folder, f'.{name}.tmp')
  try:
    with system_errors.naming(path):
      with contextlib.suppress(FileNotFoundError):
        # A killed process left this file, or somebody planted a link here.
        os.remove(temporary)
      with open(temporary, mode, opener=follow_no_link, **options) as file:
        yield file
      os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.remove(temporary)
    raise


@contextlib.contextmanager
def folder_beside(output: pathlib.Path) -> Iterator[pathlib.Path]:
  """Makes a folder, which the caller fills and then renames to `output`.

  Earlier processes on this machine that were killed may have left such folders
  next to the output. These are removed first, with a line on stderr. A folder
  in use is recognised by the lock that its process holds.

  Args:
    output: absolute path whose parent exists.

  Yields:
    A folder on the same disk. If it still exists at the end, it is removed.

  Raises:
    OSError: if the folder cannot be made.
  """
  # The name contains a hash of the machine's name, because another machine with
  # the same disk may not see the locks of this one.
  machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
  prefix = f'.{output.name}.{machine}-'
  _remove_left_over(output, prefix)
  temporary, descriptor = _make_locked(output.parent, prefix)
  try:
    os.chmod(temporary, 0o755)  # mkdtemp gives access to the owner alone.
    with system_errors.naming(output):
      yield temporary
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
    if descriptor is not None:
      os.close(descriptor)


def replace_folder(temporary: pathlib.Path, output: pathlib.Path) -> None:
  """Moves a finished folder to `output`, replacing an old one.

  Args:
    temporary: the finished folder, on the same disk.
    output: where it goes.
  """
  if not output.exists():
    os.rename(temporary, output)
    return
  aside = tempfile.mkdtemp(dir=output.parent, prefix=f'.{output.name}.old.')
  os.rename(output, os.path.join(aside, 'old'))
  os.rename(temporary, output)
  shutil.rmtree(aside)


def _make_locked(parent, prefix):
  """Makes a folder and locks it.

  Returns:
    The folder, and the descriptor of its lock, or None if the disk has no
    locks.
  """
  while True:
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    descriptor = None
    try:
      descriptor = os.open(folder, os.O_RDONLY)
      fcntl.flock(descriptor, fcntl.LOCK_EX)
      # Before this process held the lock, another one may have taken the folder
      # for a left-over and removed it.
      if folder.exists():
        return folder, descriptor
    except FileNotFoundError:
      pass
    except OSError:  # The disk has no locks, so nobody removes folders there.
      if descriptor is not None:
        os.close(descriptor)
      return folder, None
    if descriptor is not None:
      os.close(descriptor)


def _remove_left_over(output, prefix):
  """Removes folders that killed processes have left, and prints a notice.

  These are the folders next to `output` whose names start with the prefix and
  whose locks no process holds.
  """
  removed = []
  try:
    with os.scandir(output.parent) as entries:
      found = [e.path for e in entries if e.name.startswith(prefix)
               and e.is_dir(follow_symlinks=False)]
  except OSError:
    return
  for path in found:
    with contextlib.suppress(OSError):
      descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
      try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        removed.append(os.path.basename(path))
      finally:
        os.close(descriptor)
  if removed:
    more = f' and {len(removed) - 1} more' if len(removed) > 1 else ''
    print(f'notice: removed {removed[0]}{more}, which a process that was '
          f'killed had left beside {output.name}', file=sys.stderr)
