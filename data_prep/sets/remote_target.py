"""Copies a finished set to an object store, from where other machines take it.

The set is always written to a folder of this machine first. Then the files that
are new or have changed are copied, 16 at a time. The file `sent.json` in the
store holds the SHA-256 of each file. It is `{}` while files are copied, so that
a set in the store is whole if it names files. After a stop, the same command
copies all files again. Only files that `sent.json` names are ever removed.
"""

from concurrent import futures
import hashlib
import json
import os
import pathlib

from absl import flags

from data_prep import command_line
from data_prep.sets import remote_source
from data_prep.shared import grammar
from data_prep.shared import progress as progress_lib

SEND_TO = flags.DEFINE_string(
    'send_to', None, 'With --output: folder of an object store, such as '
    's3://bucket/mine, to copy the finished set to.')

INDEX = 'sent.json'
_THREADS = 16


def check(output: str | None, send_to: str | None) -> None:
  """Refuses a wrong --send_to before a set is prepared.

  Args:
    output: value of --output; None if nothing is written.
    send_to: value of --send_to.

  Raises:
    command_line.Refused: if it is no URL, is given without --output, cannot be
      read, or holds files that no set has left there.
  """
  if send_to is None:
    return
  if not remote_source.is_remote(send_to):
    raise command_line.Refused(
        f'--send_to={send_to} is for a store such as s3://bucket/mine; a '
        'folder of this machine is --output')
  if output is None:
    raise command_line.Refused(
        '--send_to copies the set that --output names: give that, not --check')
  store, root = remote_source.open_store('send_to', send_to)
  _read_index(store, root, send_to)


def send(output: str, send_to: str) -> None:
  """Copies a set to a store, and removes its older files there.

  Args:
    output: the folder of the set.
    send_to: URL of the folder in the store, which `check` has accepted.

  Raises:
    command_line.Refused: if the store cannot be read or written.
    OSError: if the set cannot be read.
  """
  folder = pathlib.Path(output).absolute()
  store, root = remote_source.open_store('send_to', send_to)
  known = _read_index(store, root, send_to)
  files = {}
  for path in sorted(folder.rglob('*')):
    if path.is_file() and not path.name.startswith('.'):  # Such as locks.
      with open(path, 'rb') as file:
        files[path.relative_to(folder).as_posix()] = hashlib.file_digest(
            file, 'sha256').hexdigest()
  changed = [name for name, sha256 in files.items()
             if known.get(name) != sha256]
  print(f'Copying {len(changed)} of {grammar.counted(len(files), "file")} to '
        f'{remote_source.shown(send_to)} ...', flush=True)
  progress = progress_lib.Progress(len(changed), 'files', what='  ')
  remote = lambda name: f'{root}/{name}'
  copy = lambda name: store.put_file(str(folder / name), remote(name))
  with remote_source.refusing('send_to', send_to):
    for parent in {os.path.dirname(name) for name in ('', *changed)}:
      # S3 needs no folders, other stores do.
      store.makedirs(remote(parent).rstrip('/'), exist_ok=True)
    if known != files:
      store.pipe_file(remote(INDEX), b'{}')
    with futures.ThreadPoolExecutor(_THREADS) as pool:
      for number, _ in enumerate(pool.map(copy, changed), start=1):
        progress(number)
    for name in known.keys() - files.keys():
      store.rm_file(remote(name))
    store.pipe_file(
        remote(INDEX), json.dumps({'files': files}, indent=1).encode())


def _read_index(store, root, send_to):
  """Returns the SHA-256 of each file of a set that was sent to the store."""
  with remote_source.refusing('send_to', send_to):
    there = {path[len(root):].lstrip('/') for path in store.find(root)}
    if INDEX in there:
      stored = json.loads(store.cat_file(f'{root}/{INDEX}')).get('files', {})
      return {name: stored[name] for name in there & stored.keys()}
  if there:
    raise command_line.Refused(
        f'--send_to={remote_source.shown(send_to)} holds other files, such as '
        f'{min(there)[-40:]!r}: name an empty folder')
  return {}
