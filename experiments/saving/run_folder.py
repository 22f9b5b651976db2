"""Locks the folder of a run, and stores its config, set and sessions there."""

import contextlib
import fcntl
import json
import os
import platform
from typing import Any, NamedTuple

from data_prep.records import preparation
from data_prep.volumes import planning
from data_prep.shared import system_errors
from data_prep.shared import whole_file
import ml_collections

from experiments import binary
from experiments.building import input_pipeline
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import resuming
from experiments.saving import run_schema
from experiments.saving import session as session_lib
from experiments.saving import switches


def write_json(path: str, value: Any) -> None:
  """Writes a JSON file atomically, so that no reader sees half of it."""
  with whole_file.open_whole(path, encoding='utf-8') as f:
    json.dump(value, f, indent=2, sort_keys=True)
    f.write('\n')


def open_checkpoints(
    workdir: str, config: ml_collections.ConfigDict, fingerprint: str
) -> checkpoints_lib.Checkpoints:
  """Opens the checkpoints of a run.

  Checkpoints from before a change of the run's config are also accepted.

  Args:
    workdir: folder of the run; it need not exist.
    config: config of the run.
    fingerprint: fingerprint of the run's set.

  Raises:
    binary.UserError: if a file of the folder is damaged.
  """
  own = resuming.run_id(json.loads(config.to_json()), fingerprint)
  known = set(_read_run(workdir).get('run_ids') or ())
  path = os.path.join(workdir, 'config.json')
  if os.path.exists(path):
    run_schema.read_config(path)
    known.add(resuming.run_id(run_schema.read(path), fingerprint))
  return checkpoints_lib.Checkpoints(
      workdir, run_id=own, also=sorted(known - {own}))


def read_dataset(workdir: str, data_dir: str) -> input_pipeline.Dataset:
  """Returns the description of a run's set, without its records.

  The records may have been deleted since the run. The splits of the returned
  set have the right lengths but hold no records.

  Args:
    workdir: folder of the run.
    data_dir: folder of the set. Older runs have no dataset.json; for these, the
      set is read from this folder.

  Raises:
    binary.UserError: if neither dataset.json nor the records can be read.
  """
  try:
    path = os.path.join(workdir, 'dataset.json')
    facts = run_schema.read(path)
    run_schema.check_dataset(facts, path)
  except FileNotFoundError:
    try:
      return input_pipeline.load_dataset(data_dir)
    except binary.UserError as e:
      raise binary.UserError(
          f'{workdir} has no dataset.json, like runs of older versions, and '
          f'the records of its set are no longer at {data_dir}: put them back '
          'there.') from e
  run = _read_run(workdir)
  wanted = run.get('dataset_sha256')
  if wanted and run_schema.digest(facts) != wanted or any(
      s['dataset_fingerprint'] != facts['fingerprint']
      for s in run['sessions'][:1]):
    raise binary.UserError(
        f'{path} was edited after the run, or is of another one: restore it.')
  plan = None
  if facts.get('plan') is not None:
    plan, problems = planning.from_json(facts['plan'], name=path)
    if problems:
      raise binary.UserError(f'{problems[0]!s:.190}')
  return input_pipeline.Dataset(
      name=facts['name'],
      classes=tuple(facts['classes']),
      image_shape=tuple(facts['image_shape']),
      splits={n: range(k) for n, k in facts['num_records'].items()},
      fingerprint=facts['fingerprint'],
      preparation=preparation.from_json(facts['preparation']),
      plan=plan,
  )


def lock(workdir: str, *, record_machine: bool = False) -> int:
  """Locks a folder, so that no other process writes to it.

  The lock ends with the process, even if it is killed.

  Args:
    workdir: folder of the run; it is created if it does not exist.
    record_machine: whether to write the machine's name into the lock file.

  Returns:
    The descriptor of the open lock file; `os.close` releases the lock.

  Raises:
    binary.UserError: if another process holds the lock, or the folder cannot be
      written or locked.
  """
  try:
    os.makedirs(workdir, exist_ok=True)
    path = os.path.join(workdir, 'lock')
    descriptor = whole_file.follow_no_link(path, os.O_RDWR | os.O_CREAT)
  except OSError as e:
    raise binary.UserError(
        system_errors.in_words(e, e.filename or workdir)) from e
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as e:
    if not isinstance(e, BlockingIOError):
      os.close(descriptor)
      raise binary.UserError(
          f'{path} cannot be locked ({e.strerror}): mount the disk with locks '
          '(Lustre: with -o flock), or give another folder.') from e
    holder = os.read(descriptor, 200).decode(errors='replace').strip()
    os.close(descriptor)
    raise binary.UserError(
        f'{workdir} is in use by {holder or "another process"}: wait for it, '
        'stop it, or use another folder.') from e
  os.ftruncate(descriptor, 0)
  # The lock is valid even if the disk is too full for the content of its file.
  with contextlib.suppress(OSError):
    where = f' on {platform.node()}' if record_machine else ''
    os.write(descriptor, f'process {os.getpid()}{where}'.encode())
  return descriptor


def is_locked(workdir: str) -> bool:
  """Returns whether any process holds the lock of the folder."""
  try:
    descriptor = os.open(os.path.join(workdir, 'lock'), os.O_RDONLY)
  except FileNotFoundError:
    return False
  try:
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return False
  except BlockingIOError:
    return True
  except OSError:  # The disk has no locks.
    return False
  finally:
    os.close(descriptor)


class _Resumed(NamedTuple):
  """The files that earlier sessions of a run have left in its folder.

  Attributes:
    stored: content of config.json; None if the folder is new.
    upgraded: the same config, upgraded to today's version; None if the folder
      is new.
    run: content of run.json.
  """

  stored: dict[str, Any] | None
  upgraded: dict[str, Any] | None
  run: dict[str, Any]


def _read_before(workdir):
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    return _Resumed(None, None, {'sessions': []})
  return _Resumed(
      run_schema.read(path), run_schema.read_config(path), _read_run(workdir))


def _check_unedited(path, stored, run):
  """Raises an error if config.json was changed after a session wrote it."""
  ids = run.get('run_ids')
  if ids and run['sessions'] and resuming.run_id(
      stored, run['sessions'][0]['dataset_fingerprint']) not in ids:
    raise binary.UserError(
        f'{path} was edited after the run, or is of another one: restore it.')


def check_run(
    workdir: str,
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    *,
    step: int = 0,
) -> list[resuming.Change]:
  """Checks that a folder is new or holds this run, without writing to it.

  Args:
    workdir: folder of the run.
    config: config of the run.
    dataset: set of the run.
    step: step of the newest checkpoint, 0 if there is none.

  Returns:
    The keys of the config that have changed since the earlier sessions. All of
    them are allowed to change.

  Raises:
    binary.UserError: if the folder holds a run with another config or set.
  """
  before = _read_before(workdir)
  if before.stored is None:
    return []
  sessions = before.run['sessions']
  if sessions and sessions[0]['dataset_fingerprint'] == dataset.fingerprint:
    _check_unedited(
        os.path.join(workdir, 'config.json'), before.stored, before.run)
  # JSON turns tuples into lists. Convert the new config to JSON and back, so
  # that equal values compare as equal.
  found = resuming.changes(before.upgraded, json.loads(config.to_json()))
  resuming.check_resumable(found, before.upgraded, step, workdir)
  if sessions and sessions[0]['dataset_fingerprint'] != dataset.fingerprint:
    raise binary.UserError(
        f'{workdir} holds a run on another set: the records under '
        f'{config.input.data_dir} have changed since. Use another --workdir, '
        'or prepare the set as it was.')
  if sessions and (
      sessions[0].get('corrections') or '') != dataset.corrections:
    raise binary.UserError(
        f'{workdir} holds a run on other corrected labels, which have changed '
        'since. Use another --workdir, or put them back.')
  return found


def open_run(
    workdir: str,
    config: ml_collections.ConfigDict,
    dataset: input_pipeline.Dataset,
    *,
    step: int = 0,
    warm_start: str = '',
    record_machine: bool = False,
) -> None:
  """Writes config.json and dataset.json and adds this session to run.json.

  Also writes dirty-HASH.diff if the code differs from its commit.

  Args:
    workdir: folder of the run, locked.
    config: config of the run.
    dataset: set of the run. The facts that predictions need, such as the names
      of its classes, are written to dataset.json.
    step: step at which this session starts.
    warm_start: hash of what the run takes over from an earlier one, or ''.
    record_machine: whether run.json names the machine and absolute paths.

  Raises:
    binary.UserError: if the folder holds a run with another config or set, or
      cannot be written.
  """
  try:
    found = check_run(workdir, config, dataset, step=step)
    before = _read_before(workdir)
    sessions = before.run['sessions']
    diff = session_lib.diff()
    session = session_lib.describe(
        dataset.fingerprint, diff, record_machine=record_machine)
    if found:
      session['config_changes'] = [change.words for change in found]
    if sessions:
      switches.warn_of_changes(*(
          session_lib.without_paths(s).get('switches')
          for s in (sessions[-1], session)))
    if dataset.corrections:
      session['corrections'] = dataset.corrections
    if sessions:  # Only the first session has read the earlier run.
      warm_start = sessions[0].get('warm_start')
    if warm_start:
      session['warm_start'] = warm_start
    if diff:
      name = f'dirty-{session["dirty_sha256"][:12]}.diff'
      with whole_file.open_whole(
          os.path.join(workdir, name), encoding='utf-8') as f:
        f.write(diff + '\n')
    wanted = json.loads(config.to_json())
    ids = [*(before.run.get('run_ids') or ()), *(
        resuming.run_id(c, dataset.fingerprint)
        for c in (before.stored, wanted) if c is not None)]
    facts = json.loads(json.dumps({
        'name': dataset.name,
        'classes': dataset.classes,
        'image_shape': dataset.image_shape,
        'num_records': {n: len(r) for n, r in dataset.splits.items()},
        'fingerprint': dataset.fingerprint,
        'preparation': dataset.preparation._asdict(),
    } | ({} if dataset.plan is None else {
        'plan': planning.to_json(dataset.plan)})))
    # Write run.json first, since it holds the hash of config.json. Otherwise,
    # if the process was killed between the two writes, config.json would look
    # as if it had been edited.
    write_json(os.path.join(workdir, 'run.json'), {
        'sessions': [*sessions, session],
        'run_ids': [*dict.fromkeys(ids)],
        'dataset_sha256': run_schema.digest(facts),
        'bit_equality': resuming.bit_equality(
            before.run.get('bit_equality'), found, step)})
    write_json(os.path.join(workdir, 'config.json'), wanted)
    write_json(os.path.join(workdir, 'dataset.json'), facts)
  except OSError as e:
    raise binary.UserError(
        f'--workdir: {system_errors.in_words(e, e.filename or workdir)}') from e


def read_config(workdir: str) -> ml_collections.ConfigDict:
  """Returns the config of a run, upgraded to today's version and locked.

  Raises:
    binary.UserError: if the folder has no config.json, or if it was edited.
  """
  path = os.path.join(workdir, 'config.json')
  try:
    config = run_schema.read_config(path)
    stored = run_schema.read(path)
  except OSError as e:
    raise binary.UserError(
        f'No run at {workdir}: {path} cannot be read ({e.strerror}).') from e
  _check_unedited(path, stored, _read_run(workdir))
  return ml_collections.ConfigDict(config).lock()


def _read_run(workdir):
  """Reads run.json; if it is missing, returns a run without any session."""
  path = os.path.join(workdir, 'run.json')
  try:
    return run_schema.read(path, run_schema.RUN)
  except FileNotFoundError:
    return {'sessions': []}
  except OSError as e:
    raise binary.UserError(f'{path} cannot be read ({e.strerror}).') from e


def read_sessions(workdir: str) -> list[dict[str, Any]]:
  """Returns the entries of all sessions in run.json; [] without that file.

  Raises:
    binary.UserError: if run.json does not have the form in which a run writes
      it.
  """
  return _read_run(workdir)['sessions']


def read_bit_equality(workdir: str) -> list[dict[str, Any]]:
  """Reads the pieces of a run that `resuming.bit_equality` has recorded."""
  return _read_run(workdir).get('bit_equality') or []


def differences(
    there: dict[str, Any], here: dict[str, Any]
) -> list[str]:
  """Describes each difference between the entries of two sessions in one line.

  Only properties of the code, the set and the machine that may affect the
  numbers of a run are compared.
  """
  names = ('commit', 'dirty_sha256', 'dataset_fingerprint', 'device_kind',
           'num_devices', 'processor', 'cpu_isa', 'nproc', 'xla_flags',
           'python', 'versions', 'warm_start')
  # Cut the paths in both sessions, since only one may have recorded full paths.
  there, here = map(session_lib.without_paths, (there, here))
  switched = switches.differences(there.get('switches'), here.get('switches'))
  there, here = (
      resuming.flatten({n: s.get(n) for n in names}) for s in (there, here))
  return switched + [
      f'{name}: {there.get(name)!r} there, {here.get(name)!r} here'
      for name in sorted(there.keys() | here.keys())
      if there.get(name) != here.get(name)
  ]
