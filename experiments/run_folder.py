"""The folder of a run: who writes it, what it runs, and on what machine."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import sys
from typing import Any

from data_prep import preparation
from data_prep import system_errors
from data_prep import whole_file
import ml_collections

from experiments import binary
from experiments import input_pipeline
from experiments import session as session_lib
from experiments import switches
from experiments.configs import common


def write_json(path: str, value: Any) -> None:
  """Writes JSON; a reader never sees half of it."""
  with whole_file.open_whole(path, encoding='utf-8') as f:
    json.dump(value, f, indent=2, sort_keys=True)
    f.write('\n')


def run_id(config: ml_collections.ConfigDict, fingerprint: str) -> str:
  """Returns a hash of all that decides a run: its config and its set."""
  # Where the records lie does not matter, what they hold does.
  wanted = without_later(json.loads(config.to_json()))
  wanted['input'].pop('data_dir')
  text = json.dumps([wanted, fingerprint], sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def read_dataset(
    workdir: str, config: ml_collections.ConfigDict
) -> input_pipeline.Dataset:
  """Returns the set of a run without its records, wherever these are now.

  Its splits are as long as they were, and hold no records.

  Args:
    workdir: folder of the run.
    config: of the run, which leads to the records if the run is older than
      dataset.json.

  Raises:
    binary.UserError: if neither can be read.
  """
  try:
    facts = read_json(os.path.join(workdir, 'dataset.json'))
  except FileNotFoundError:
    try:
      return input_pipeline.load_dataset(config.input.data_dir)
    except binary.UserError as e:
      raise binary.UserError(
          f'{workdir} has no dataset.json, as runs of older versions, and the '
          f'records of its set are not at {config.input.data_dir} any more: '
          'put them back there.') from e
  return input_pipeline.Dataset(
      name=facts['name'],
      classes=tuple(facts['classes']),
      image_shape=tuple(facts['image_shape']),
      splits={n: range(k) for n, k in facts['num_records'].items()},
      fingerprint=facts['fingerprint'],
      preparation=preparation.from_json(facts['preparation']),
  )


def lock(
    workdir: str,
    *,
    name: str = 'lock',
    wait: bool = False,
    record_machine: bool = False,
) -> int:
  """Makes this process the folder's only writer until it ends, however it does.

  Args:
    workdir: folder of the run; made if absent.
    name: of the lock file.
    wait: whether to wait until no other process holds it.
    record_machine: whether the file says on which machine the process is.

  Returns:
    The descriptor of the open lock file; `os.close` releases the folder.

  Raises:
    binary.UserError: if another process holds it, or it cannot be written.
  """
  try:
    os.makedirs(workdir, exist_ok=True)
    descriptor = os.open(
        os.path.join(workdir, name), os.O_RDWR | os.O_CREAT, 0o644)
  except OSError as e:
    raise binary.UserError(system_errors.in_words(e, workdir)) from e
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError as e:
    holder = os.read(descriptor, 200).decode(errors='replace').strip()
    os.close(descriptor)
    raise binary.UserError(
        f'{workdir} is in use by {holder or "another process"}: wait for it, '
        'stop it, or use another folder.') from e
  os.ftruncate(descriptor, 0)
  with contextlib.suppress(OSError):  # Of a full disk: the lock holds.
    where = f' on {platform.node()}' if record_machine else ''
    os.write(descriptor, f'process {os.getpid()}{where}'.encode())
  return descriptor


def is_locked(workdir: str) -> bool:
  """Says whether a process writes to the folder just now."""
  try:
    descriptor = os.open(os.path.join(workdir, 'lock'), os.O_RDONLY)
  except FileNotFoundError:
    return False
  try:
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return False
  except BlockingIOError:
    return True
  finally:
    os.close(descriptor)


def open_run(
    workdir: str,
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    *,
    record_machine: bool = False,
) -> None:
  """Writes config.json and dataset.json and adds this session to run.json.

  Also writes dirty-HASH.diff, where the code differs from its commit.

  Args:
    workdir: folder of the run, locked.
    config: of the run.
    dataset: the set; dataset.json is what a prediction must know of it.
    record_machine: whether run.json names the machine and absolute paths.

  Raises:
    binary.UserError: if the folder holds a run of another config or set, or
      cannot be written.
  """
  path = os.path.join(workdir, 'config.json')
  # JSON turns tuples into lists: compare like with like.
  wanted = json.loads(config.to_json())
  fingerprint = dataset.fingerprint
  try:
    sessions = []
    if os.path.exists(path):
      check_same(read_json(path), wanted, workdir)
      sessions = read_sessions(workdir)
    if sessions and sessions[0]['dataset_fingerprint'] != fingerprint:
      raise binary.UserError(
          f'{workdir} holds a run on another set: the records under '
          f'{config.input.data_dir} have changed since. Use another --workdir, '
          'or prepare the set as it was.')
    if sessions and sessions[0].get('corrections', '') != dataset.corrections:
      raise binary.UserError(
          f'{workdir} holds a run on other corrected labels, which have '
          'changed since. Use another --workdir, or put them back.')
    diff = session_lib.diff()
    session = session_lib.describe(
        fingerprint, diff, record_machine=record_machine)
    if sessions:
      _warn_of_switches(sessions[-1], session)
    if dataset.corrections:
      session['corrections'] = dataset.corrections
    if diff:
      name = f'dirty-{session["dirty_sha256"][:12]}.diff'
      with open(os.path.join(workdir, name), 'w', encoding='utf-8') as f:
        f.write(diff + '\n')
    write_json(path, wanted)
    write_json(os.path.join(workdir, 'dataset.json'), {
        'name': dataset.name,
        'classes': dataset.classes,
        'image_shape': dataset.image_shape,
        'num_records': {n: len(r) for n, r in dataset.splits.items()},
        'fingerprint': fingerprint,
        'preparation': dataset.preparation._asdict(),
    })
    write_json(
        os.path.join(workdir, 'run.json'), {'sessions': sessions + [session]})
  except OSError as e:
    raise binary.UserError(
        f'--workdir: {system_errors.in_words(e, e.filename or workdir)}') from e


def _warn_of_switches(before, session):
  """Prints one line if switches are not as in the session before this one."""
  before, session = map(session_lib.without_paths, (before, session))
  if 'switches' not in before:  # By an older version.
    return
  found = switches.differences(before['switches'], session['switches'])
  if found:
    more = f' (and {len(found) - 1} more)' if found[1:] else ''
    print('notice: numbers may differ from the last session of this run, which '
          f'had another setting: {found[0]}{more}', file=sys.stderr)


def read_json(path: str) -> Any:
  """Reads JSON.

  Raises:
    binary.UserError: if it is not JSON.
    OSError: if it cannot be read.
  """
  with open(path, encoding='utf-8') as f:
    try:
      return json.load(f)
    except ValueError as e:
      raise binary.UserError(
          f'{path} is damaged ({e}): restore it, or use another --workdir.'
      ) from e


def read_config(workdir: str) -> ml_collections.ConfigDict:
  """Returns the locked config of a run.

  Raises:
    binary.UserError: if there is none.
  """
  path = os.path.join(workdir, 'config.json')
  try:
    config = ml_collections.ConfigDict(read_json(path)).lock()
    missing = sorted(set(common.get_base('')) - set(config))
    if missing:
      raise binary.UserError(
          f'{path} is not the config of a run: it lacks {", ".join(missing)}. '
          'Restore it.')
    return config
  except OSError as e:
    raise binary.UserError(
        f'No run at {workdir}: {path} cannot be read ({e.strerror}).') from e


def read_sessions(workdir: str) -> list[dict[str, Any]]:
  """Returns what run.json says of each session of a run; [] without one."""
  try:
    return read_json(os.path.join(workdir, 'run.json'))['sessions']
  except FileNotFoundError:
    return []


def differences(
    there: dict[str, Any], here: dict[str, Any]
) -> list[str]:
  """Says in which of the things that decide a result two sessions differ."""
  names = ('commit', 'dirty_sha256', 'dataset_fingerprint', 'device_kind',
           'num_devices', 'processor', 'cpu_isa', 'nproc', 'xla_flags',
           'python', 'versions')
  # Paths are cut in one session and perhaps not in the other.
  there, here = map(session_lib.without_paths, (there, here))
  switched = switches.differences(there.get('switches'), here.get('switches'))
  there, here = (
      _flatten({n: s.get(n) for n in names}) for s in (there, here))
  return switched + [
      f'{name}: {there.get(name)!r} there, {here.get(name)!r} here'
      for name in sorted(there.keys() | here.keys())
      if there.get(name) != here.get(name)
  ]


def check_same(
    saved: dict[str, Any], wanted: dict[str, Any], workdir: str
) -> None:
  """Compares the config of a folder, as JSON, with the one that is wanted.

  Raises:
    binary.UserError: if they differ, in more than where the set lies.
  """
  saved, wanted = (_flatten(without_later(c)) for c in (saved, wanted))
  # The same set may have moved; its fingerprint is compared.
  for name in sorted((saved.keys() | wanted.keys()) - {'input.data_dir'}):
    if saved.get(name) != wanted.get(name):
      raise binary.UserError(
          f'{workdir} holds a run with another config: {name} is '
          f'{saved.get(name)!r} there, {wanted.get(name)!r} here. Use another '
          '--workdir, or the same config to resume.'
      )


def without_later(config: dict[str, Any]) -> dict[str, Any]:
  """Leaves out what came after runs were made and is off: these then resume.

  Args:
    config: of a run, as JSON.
  """
  config = dict(config)
  for part, name in (('weighting', 'initial_from'),
                     ('input', 'corrected_labels'), ('supervision', 'refine')):
    values = config[part] = dict(config.get(part) or {})
    if not values.get(name, True):
      del values[name]
  return config


def _flatten(tree, prefix=''):
  if not isinstance(tree, dict):
    return {prefix: tree}
  flat = {}
  for name, value in tree.items():
    flat.update(_flatten(value, f'{prefix}.{name}' if prefix else name))
  return flat
