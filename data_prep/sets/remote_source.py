"""Copies a source from an object store to this machine, to be read from there.

All readers open files of this machine. A source such as s3://bucket/polyps is
therefore copied to a folder that the user names, which is kept: the manifest
names its pictures. A copy that was stopped goes on where it was, and later
copies only fetch files that have changed.

The stores are those of fsspec, which comes with the extra `remote` together
with the package for S3; other stores need packages of their own.
"""

from collections.abc import Iterable, Iterator
from concurrent import futures
import contextlib
import json
import os
import pathlib
import re
from typing import Any

from absl import flags

from data_prep import command_line
from data_prep.shared import confined
from data_prep.shared import grammar
from data_prep.shared import progress as progress_lib
from data_prep.shared import system_errors
from data_prep.shared import whole_file

FETCH_TO = flags.DEFINE_string(
    'fetch_to', None, 'With a --source in an object store, such as '
    's3://bucket/polyps: folder to copy it to, which is kept.')

# Ending of the file beside the folder that tells what was copied: its URL, and
# the state of each file.
_INDEX = '.fetched.json'
_UNFINISHED = '.unfinished'
_THREADS = 16
_EVERY = 500  # Number of files after which the index is written.
_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://')
_STATES = ('ETag', 'etag', 'sha', 'LastModified', 'last_modified', 'mtime',
           'modified', 'modify', 'updated', 'created')


def is_remote(source: str | None) -> bool:
  """Returns whether a value of --source is the URL of a store."""
  return source is not None and bool(_URL.match(source))


def find_local(source: str | None, fetch_to: str | None) -> str | None:
  """Returns the folder of a source, after copying it from an object store.

  Args:
    source: value of --source.
    fetch_to: value of --fetch_to.

  Raises:
    command_line.Refused: if the flags do not fit, or the source cannot be read.
    OSError: if the folder cannot be written.
  """
  if not is_remote(source):
    if fetch_to is not None:
      raise command_line.Refused(
          '--fetch_to is for a --source such as s3://bucket/folder: remove it')
    return source
  if not fetch_to:
    raise command_line.Refused(
        f'--source={shown(source)}: name the folder to copy it to, which is '
        'kept: --fetch_to=FOLDER')
  folder = pathlib.Path(fetch_to).absolute()
  if not folder.name:
    raise command_line.Refused(
        f'--fetch_to={fetch_to} is a whole disk: name a folder of its own')
  store, root = open_store('source', source)
  source = shown(source)
  with refusing('source', source):
    found = store.find(root, detail=True)
  if root in found:
    raise command_line.Refused(
        f'--source={source} is a file: name the folder that holds it')
  files = {path[len(root):].lstrip('/'): info for path, info in found.items()
           if not path.endswith('/')}
  _check_names(source, files)
  _fetch(source, store, root, files, folder)
  return str(folder)


def shown(url: str) -> str:
  """Returns a URL without the password that it may hold."""
  return re.sub(r'//[^/@]*@', '//***@', url, count=1)


def open_store(flag: str, url: str) -> tuple[Any, str]:
  """Returns the file system of fsspec for a URL, and the path in it.

  Args:
    flag: name of the flag that holds the URL, for messages.
    url: the URL.

  Raises:
    command_line.Refused: if the store is unknown or its package is missing.
  """
  try:
    with refusing(flag, url):
      import fsspec
      return fsspec.url_to_fs(url)
  except ImportError as error:
    raise command_line.Refused(
        f'--{flag}={shown(url)}: {command_line.one_line(error)}: pip install '
        "'hybridseg[remote]' reads S3") from error


@contextlib.contextmanager
def refusing(flag: str, url: str) -> Iterator[None]:
  """Makes any error of a store one line for the user.

  Errors of a full disk of this machine, and missing packages, stay as they are.
  """
  try:
    yield
  except ImportError:
    raise
  except Exception as error:  # Each store raises errors of its own.
    if system_errors.is_full(error):
      raise
    text = ' '.join(str(error).split())[:80] or type(error).__name__
    raise command_line.Refused(
        f'--{flag}={shown(url)} cannot be used: {text}') from error


def _check_names(source: str, names: Iterable[str]):
  """Refuses a source without files, or with names that are no safe paths."""
  if not names:
    raise command_line.Refused(f'--source={source} holds no file')
  for name in names:
    if not confined.is_name(name) or name.endswith(_UNFINISHED):
      raise command_line.Refused(
          f'--source={source}: a name that cannot be a file below a folder: '
          f'{ascii(name)[:60]}; rename it')


def _fetch(source, store, root, files, folder):
  """Copies the files that are missing or have changed, and removes old ones."""
  folder.mkdir(parents=True, exist_ok=True)
  known = _read_index(source, folder)
  there = {path.relative_to(folder).as_posix() for path in folder.rglob('*')
           if not path.is_dir()}
  begun = {name + _UNFINISHED for name in files}
  others = sorted(there - set(known or ()) - (
      set() if known is None else begun.union(files)))
  if others:
    raise command_line.Refused(
        f'--fetch_to={folder} holds other files, such as {others[0][-40:]!r}: '
        'name an empty folder')
  states = {name: _state(info) for name, info in files.items()}
  done = {name: state for name, state in (known or {}).items()
          if name in there and states.get(name) == state and
          any(key in files[name] for key in _STATES)}
  missing = sorted(set(files) - set(done))
  print(f'Copying {len(missing)} of {grammar.counted(len(files), "file")} to '
        f'{folder} ...', flush=True)
  # First, so that a file whose copy is stopped does not count as copied.
  _write_index(source, folder, done)
  for name in there - set(files):
    (folder / name).unlink()
  progress = progress_lib.Progress(len(missing), 'files', what='  ')

  def copy(name):
    path = confined.inside(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + _UNFINISHED)
    store.get_file('/'.join([root, name]), str(unfinished))
    os.replace(unfinished, path)
    return name

  with (system_errors.naming(folder),
        refusing('source', source),
        futures.ThreadPoolExecutor(_THREADS) as pool):
    pending = [pool.submit(copy, name) for name in missing]
    try:
      for number, future in enumerate(futures.as_completed(pending), start=1):
        name = future.result()
        done[name] = states[name]
        progress(number)
        if not number % _EVERY:
          _write_index(source, folder, done)
    finally:
      for future in pending:
        future.cancel()
      _write_index(source, folder, done)


def _state(info):
  """Returns what changes if a file changes, as text."""
  return json.dumps([info.get('size'), *(
      str(info[key]).strip('"') for key in _STATES if key in info)])


def _index_of(folder):
  return folder.with_name(folder.name + _INDEX)


def _read_index(source, folder):
  """Returns the state of each file that was copied before; None if none was."""
  path = _index_of(folder)
  try:
    stored = json.loads(path.read_text(encoding='utf-8'))
    if stored['source'] == source:
      return dict(stored['files'])
  except FileNotFoundError:
    return None
  except (ValueError, KeyError, TypeError) as error:
    raise command_line.Refused(
        f'{path} is damaged: remove it and the folder beside it') from error
  raise command_line.Refused(
      f'--fetch_to={folder} holds a copy of {stored["source"]}: name another '
      'folder')


def _write_index(source, folder, files):
  with whole_file.open_whole(_index_of(folder), encoding='utf-8') as file:
    json.dump({'source': source, 'files': files}, file, indent=1)
