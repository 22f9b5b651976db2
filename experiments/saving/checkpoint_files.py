"""Writes the files of a checkpoint, and checks them against a manifest."""

from collections.abc import Collection
import hashlib
import json
import os

from data_prep.shared import whole_file

from experiments import binary
from experiments.saving import run_schema

_FORMAT = 2
_READABLE = (1, 2)  # Format 1 holds the history of the indicators.
_MANIFEST = 'manifest.json'
_FIELDS = {'format': int, 'step': int, 'run_id': str, 'files': dict}


class Damaged(Exception):
  """Raised if a checkpoint is damaged; the message describes the damage."""


def verify(folder: str, step: int, run_ids: Collection[str] = ()) -> None:
  """Checks every file of a checkpoint against its manifest.

  Args:
    folder: folder of the checkpoint.
    step: step that the folder is named after.
    run_ids: ids of the runs to which the checkpoint may belong; () allows any
      run.

  Raises:
    Damaged: if any file is missing, changed, or not listed in the manifest, or
      if the manifest is for another step or run.
    binary.UserError: if a newer version of hybridseg wrote the checkpoint.
  """
  try:
    with open(os.path.join(folder, _MANIFEST), 'rb') as f:
      manifest = json.loads(f.read())
    claimed = manifest.pop('sha256')
    intact = claimed == run_schema.digest(manifest)
  except FileNotFoundError as e:
    raise Damaged(f'{_MANIFEST} is missing') from e
  except (OSError, ValueError, KeyError, AttributeError, RecursionError,
          TypeError) as e:
    raise Damaged(f'{_MANIFEST} cannot be read') from e
  if not intact:
    raise Damaged(f'{_MANIFEST} was changed')
  for name, kind in _FIELDS.items():
    if type(manifest.get(name)) is not kind:
      raise Damaged(f'{_MANIFEST} has no {name}, or an invalid one')
  if manifest['format'] > _FORMAT:
    raise binary.UserError(
        f'{folder} was written by a newer hybridseg (format '
        f'{manifest["format"]}, this one reads {_FORMAT}): update hybridseg, '
        'or use another workdir.')
  if manifest['format'] not in _READABLE:
    raise Damaged(f'{_MANIFEST} has format {manifest["format"]}, not {_FORMAT}')
  if manifest['step'] != step:
    raise Damaged(f'it was written as step {manifest["step"]}')
  if run_ids and manifest['run_id'] not in run_ids:
    raise Damaged('it belongs to a run with another config or set')
  found = set(_files(folder)) - {_MANIFEST}
  for name in sorted(found ^ manifest['files'].keys()):
    fault = 'does not belong there' if name in found else 'is missing'
    raise Damaged(f'{name} {fault}')
  for name, expected in sorted(manifest['files'].items()):
    try:
      actual = _fingerprint(os.path.join(folder, name))
    except OSError as e:
      raise Damaged(f'{name} cannot be read: {e.strerror}') from e
    if not isinstance(expected, list) or len(expected) != 2:
      raise Damaged(f'{_MANIFEST} has no size and sha256 of {name}')
    if actual[0] != expected[0]:
      raise Damaged(f'{name} has {actual[0]} bytes, not {expected[0]}')
    if actual != expected:
      raise Damaged(f'{name} was changed')


def write_manifest(folder: str, step: int, run_id: str) -> None:
  """Writes the manifest that lists all files in a checkpoint's folder."""
  manifest = {
      'format': _FORMAT,
      'step': step,
      'run_id': run_id,
      'files': {
          n: _fingerprint(os.path.join(folder, n)) for n in _files(folder)
      },
  }
  manifest['sha256'] = run_schema.digest(manifest)
  text = json.dumps(manifest, indent=1, sort_keys=True)
  write_file(folder, _MANIFEST, text.encode())


def _files(folder):
  """Returns the paths of all files below a folder, relative to it."""
  return sorted(
      os.path.relpath(os.path.join(parent, name), folder)
      for parent, _, names in os.walk(folder)
      for name in names)


def _fingerprint(path):
  with open(path, 'rb') as f:
    digest = hashlib.file_digest(f, 'sha256').hexdigest()
  return [os.path.getsize(path), digest]


def write_file(folder: str, name: str, content: bytes) -> None:
  """Writes a file and waits until it is on the disk."""
  with open(os.path.join(folder, name), 'wb') as f:
    f.write(content)
    whole_file.sync(f)


def set_aside(folder: str) -> None:
  """Renames the folder of a damaged checkpoint, so that it is not used."""
  name, number = f'{folder}.damaged', 1
  while os.path.exists(name):
    name, number = f'{folder}.damaged{number}', number + 1
  os.rename(folder, name)
