"""What the system refuses: a full disk, a file, a pipe that nobody reads."""

from collections.abc import Iterator
import contextlib
import errno
import os
import shutil
import sys

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOCKED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MAX_PATH = 50
_SIGPIPE_CODE = 141  # As a shell shows it of a program ended by SIGPIPE.


def in_words(
    error: OSError, path: str | os.PathLike[str] | None = None
) -> str:
  """Returns one line: which file, what is wrong with it, what to do.

  Args:
    error: of a file that could not be read or written.
    path: where it was to lie, if the error does not know: that of a `write` to
      an open file names none.

  Raises:
    BrokenPipeError: if the error is one: it is of no file.
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
  """Returns the reason alone; of a full disk, how much room there is.

  Args:
    error: of a file.
    path: where it was to lie.

  Raises:
    BrokenPipeError: if the error is one.
  """
  if isinstance(error, BrokenPipeError):
    raise error
  reason = error.strerror or ' '.join(str(error).split())[:80]
  if error.errno == errno.ELOOP:  # As `O_NOFOLLOW` has it, too.
    reason = 'it is a link'
  return reason + (room(path) if path and error.errno in _FULL else '')


def _shown(path):
  """Returns a path in one line, its end if it is long."""
  text = ' '.join(os.fsdecode(path).split())
  return text if len(text) <= _MAX_PATH else f'...{text[3 - _MAX_PATH:]}'


def room(path: str | os.PathLike[str]) -> str:
  """Says how much room there is where a path lies or was to lie."""
  folder = os.path.abspath(os.fsdecode(path))
  while not os.path.exists(folder) and folder != os.path.dirname(folder):
    folder = os.path.dirname(folder)
  try:
    return f', {shutil.disk_usage(folder).free / 2**20:.1f} MiB free'
  except OSError:
    return ''


def is_full(error: BaseException) -> bool:
  """Says whether a disk, or a user's part of it, is full."""
  return isinstance(error, OSError) and error.errno in _FULL


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
  """Has errors of a full disk name the path that the user gave.

  That of a `write` names none, and others the temporary file.
  """
  try:
    yield
  except OSError as error:
    if is_full(error):
      error.filename, error.filename2 = os.fspath(path), None
    raise


@contextlib.contextmanager
def quiet_without_reader() -> Iterator[None]:
  """Ends the process without a word where nobody reads its output any more.

  As of `... | head -1`. Around all that a binary does: what is still in the
  buffer of stdout is written here, and not when Python ends, which would tell.
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
