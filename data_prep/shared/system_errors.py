"""Explains system errors: a full disk, a locked file, a closed pipe."""

from collections.abc import Iterator
import contextlib
import errno
import os
import shutil
import sys

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MAX_PATH = 50
_SIGPIPE_CODE = 141  # The code that a shell reports after SIGPIPE, 128 + 13.


def in_words(
    error: OSError, path: str | os.PathLike[str] | None = None
) -> str:
  """Explains an error in one line: the file, what is wrong and what to do.

  Args:
    error: error of reading or writing a file.
    path: the file, in case the error does not name it: the error of a `write`
      to an open file names none.

  Raises:
    BrokenPipeError: if `error` is a BrokenPipeError, since no file is to blame.
  """
  path = path or error.filename2 or error.filename
  verb = 'used'
  advice = 'correct the path'
  if error.errno in _FULL:
    verb, advice = 'written', 'make room, or write to another disk'
  elif error.errno in _LOCKED:
    advice = 'change its permissions, or give another path'
  elif error.errno == errno.ELOOP:
    advice = 'remove it'
  return (f'{_shown(path) if path else "A file"} cannot be {verb} '
          f'({why(error, path)}): {advice}, and start the same command again.')


def why(
    error: OSError, path: str | os.PathLike[str] | None = None
) -> str:
  """Returns the reason for an error and, for a full disk, the space left.

  Args:
    error: error of reading or writing a file.
    path: the file.

  Raises:
    BrokenPipeError: if `error` is a BrokenPipeError.
  """
  if isinstance(error, BrokenPipeError):
    raise error
  reason = error.strerror or ' '.join(str(error).split())[:80]
  # Opening a link with `O_NOFOLLOW` raises this error, too.
  if error.errno == errno.ELOOP:
    reason = 'it is a link'
  return reason + (room(path) if path and error.errno in _FULL else '')


def _shown(path):
  """Returns a path in one line; a long path loses its start."""
  text = ' '.join(os.fsdecode(path).split())
  return text if len(text) <= _MAX_PATH else f'...{text[3 - _MAX_PATH:]}'


def room(path: str | os.PathLike[str]) -> str:
  """Returns the free space on the disk of a path: ', 3.5 MiB free'.

  The path need not exist yet. The string is empty if the space is unknown.
  """
  folder = os.path.abspath(os.fsdecode(path))
  while not os.path.exists(folder) and folder != os.path.dirname(folder):
    folder = os.path.dirname(folder)
  try:
    return f', {shutil.disk_usage(folder).free / 2**20:.1f} MiB free'
  except OSError:
    return ''


def is_full(error: BaseException) -> bool:
  """Returns whether an error is due to a full disk or a user's full quota."""
  return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
  """Makes errors of a full disk name the path that the user gave.

  The error of a `write` names no file, and other errors name a temporary file.
  """
  try:
    yield
  except OSError as error:
    if is_full(error):
      error.filename, error.filename2 = os.fspath(path), None
    raise


@contextlib.contextmanager
def quiet_without_reader() -> Iterator[None]:
  """Ends the process silently if nobody reads its output any more.

  This happens in `... | head -1`. Wrap everything that a binary does: whatever
  is still in the buffer of stdout is written here. If the buffer were written
  only when Python exits, Python would print an error.
  """
  try:
    try:
      yield
    finally:
      sys.stdout.flush()
  except BrokenPipeError:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in sys.stdout, sys.stderr:
      try:
        stream.flush()
      except BrokenPipeError:
        os.dup2(nowhere, stream.fileno())
    sys.exit(_SIGPIPE_CODE)
