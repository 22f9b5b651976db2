"""Keeps compiled programs on the disk, so that the next process starts fast.

JAX can keep programs itself, but it writes them in place and without a
checksum: a process that reads while another one writes, or after a writer was
killed, finds half a program, and nothing replaces that file again. Here, a file
appears whole or not at all, and contains a checksum; a damaged file is removed
and the program is compiled again.

JAX's own variables have an effect, too: JAX_COMPILATION_CACHE_DIR moves the
folder, and JAX_ENABLE_COMPILATION_CACHE=0 turns the cache off.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import stat
import sys
import tempfile

import jax
from jax._src import compilation_cache
import jaxlib

# The largest size of all programs together. The programs of one run take 1 to
# 10 MB.
_MAX_BYTES = 1 << 30
# Programs that compile faster are not kept: reading them would save no time.
_MIN_COMPILATION_S = 0.05
_PREFIX = 'hybridseg-'
_DIGEST_BYTES = hashlib.sha256().digest_size


class ProgramCache:
  """A folder of compiled programs, which JAX reads and writes.

  Any number of processes may use the same folder. All failures are silent: a
  program that cannot be read is compiled, and one that cannot be written is not
  kept.
  """

  def __init__(self, folder: str, *, max_bytes: int = _MAX_BYTES):
    self._path = pathlib.Path(folder)
    self._max_bytes = max_bytes

  def get(self, key: str) -> bytes | None:
    """Returns the program with this key; None if there is none that is intact.

    Args:
      key: JAX's name for the program, which contains a hash of its source and
        of the options of the compiler.
    """
    path = self._file(key)
    try:
      content = path.read_bytes()
      if _digest(content[_DIGEST_BYTES:]) != content[:_DIGEST_BYTES]:
        path.unlink()
        return None
      os.utime(path)  # Programs that are used are kept longer.
    except OSError:
      return None
    return content[_DIGEST_BYTES:]

  def put(self, key: str, value: bytes) -> None:
    """Stores a program; removes the oldest ones if the folder is too large."""
    with contextlib.suppress(OSError):
      self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
      # Two processes may write the same program at the same time.
      descriptor, temporary = tempfile.mkstemp(
          dir=self._path, prefix='.', suffix='.tmp')
      try:
        with open(descriptor, 'wb') as f:
          f.write(_digest(value) + value)
        os.replace(temporary, self._file(key))
      except BaseException:
        os.remove(temporary)
        raise
      self._trim()

  def _file(self, key):
    return self._path / f'{key}.program'

  def _trim(self):
    files = []
    # The folders of other machines and versions count, too, and so do the
    # unfinished files of processes that were killed.
    for path in self._path.parent.glob(f'{_PREFIX}*/*'):
      with contextlib.suppress(OSError):  # Another process may remove a file.
        status = path.stat()
        files.append((status.st_mtime, status.st_size, path))
    excess = sum(size for _, size, _ in files) - self._max_bytes
    for _, size, path in sorted(files):
      if excess <= 0:
        break
      path.unlink(missing_ok=True)
      excess -= size


def _digest(content):
  return hashlib.sha256(content).digest()


def turn_on() -> str:
  """Makes JAX keep its programs; call it before the first one is compiled.

  Returns:
    The folder of the programs of this machine; '' if none are kept, because
    JAX's settings forbid it or because other users can write to the folder.
  """
  if not jax.config.jax_enable_compilation_cache:
    return ''
  root = jax.config.jax_compilation_cache_dir or _default_folder()
  if os.path.basename(root) == _here():
    return root  # The cache is on already.
  folder = os.path.join(root, _here())
  if not _is_private(folder):
    print(f'Note: {folder} may be written by other users: compiled programs '
          'are not kept. See docs/runs.md.', file=sys.stderr)
    jax.config.update('jax_enable_compilation_cache', False)
    return ''
  # JAX has no public way to replace its own storage.
  compilation_cache.get_file_cache = lambda path: (ProgramCache(path), path)
  jax.config.update('jax_compilation_cache_dir', folder)
  jax.config.update(
      'jax_persistent_cache_min_compile_time_secs', _MIN_COMPILATION_S)
  # On GPUs, XLA would also write its own files, and nothing would remove them.
  jax.config.update('jax_persistent_cache_enable_xla_caches', 'none')
  return folder


def _default_folder():
  base = os.environ.get('XDG_CACHE_HOME', '')
  # The XDG standard says to ignore a path that is not absolute.
  if not os.path.isabs(base):
    base = os.path.join(os.path.expanduser('~'), '.cache')
  return os.path.join(base, 'hybridseg', 'programs')


def _here():
  """Returns a name for what programs depend on but JAX's keys leave out.

  Home folders are often shared by machines with different processors. A program
  for AVX-512 would end the process on a machine without it. The number of
  threads (NPROC) is compiled into a program and decides its last bits.
  """
  facts = [
      jax.__version__, jaxlib.__version__, sys.platform, platform.machine(),
      *_processor(), _num_threads(), os.environ.get('XLA_FLAGS', '')]
  return f'{_PREFIX}{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}'


def _num_threads():
  if os.environ.get('NPROC'):
    return os.environ['NPROC']
  if hasattr(os, 'sched_getaffinity'):
    return str(len(os.sched_getaffinity(0)))
  return str(os.cpu_count())


def _processor():
  """Returns the name and the instructions of the processor."""
  names = ('model name', 'flags', 'CPU implementer', 'CPU part', 'Features')
  found = {}
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      for line in f:
        name, _, value = line.partition(':')
        if name.strip() in names:
          found.setdefault(name.strip(), value.strip())
  except OSError:
    found['processor'] = platform.processor()
  return sorted(found.items())


def _is_private(folder):
  """Returns whether only this user can write to a folder, or can make it.

  A compiled program is code: whoever can write it can run anything here.
  """
  try:
    status = os.lstat(folder)
  except OSError:
    return True
  return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and (
      not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
