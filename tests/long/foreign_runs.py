r"""Tests that edited, damaged and foreign run folders give one-line errors.

python -m tests.long.foreign_runs --run=runs/phantom \
    --workdir=runs/foreign

For each of `CASES`, copies a finished run, damages the copy, and calls the code
with which each binary opens a run. Prints a line for each case: which binaries
refused the folder, and their messages. The exit code is 1 if a binary raised
any error other than a refusal of one line.
"""

from collections.abc import Callable, Iterator
import contextlib
import hashlib
import io
import json
import math
import os
import pathlib
import shutil
import sys
from typing import Any

from absl import flags
from absl import logging

from experiments import binary
from experiments.auditing import observer
from experiments.building import input_pipeline
from experiments.building import parts
from experiments.building import pieces
from experiments.exporting import model_card
from experiments.prediction import predictor as predictor_lib
from experiments.saving import checkpoint_files
from experiments.saving import indicator_history
from experiments.saving import run_folder
from experiments.saving import run_log
from experiments.saving import run_schema
from experiments.tables import cases as cases_lib
from experiments.tables import seed_groups
from experiments.training import reproduce

_RUN = flags.DEFINE_string('run', None, 'Folder of a finished run.')
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder to work in; new.')

_FILES = ('config.json', 'run.json', 'dataset.json')


def _text(name, text):
  return lambda folder: (folder / name).write_text(text, 'utf-8')


def _bytes(name, content):
  return lambda folder: (folder / name).write_bytes(content)


def _edit(name, path, value):
  """Returns a function that changes one value in a JSON file of a run.

  Args:
    name: name of the file.
    path: keys that lead to the value.
    value: the new value; `...` deletes the key.
  """

  def spoil(folder):
    tree = json.loads((folder / name).read_text('utf-8'))
    *parents, last = path
    part = tree
    for key in parents:
      part = part[key]
    if value is ...:
      del part[last]
    else:
      part[last] = value
    (folder / name).write_text(json.dumps(tree), 'utf-8')

  return spoil


def _truncate(name):
  return lambda folder: os.truncate(
      folder / name, (folder / name).stat().st_size // 2)


def _as_folder(name):
  def spoil(folder):
    (folder / name).unlink()
    (folder / name).mkdir()
  return spoil


def _empty(folder):
  shutil.rmtree(folder)
  folder.mkdir()


def _other_tool(folder):
  """Turns a folder into another tool's folder, with files of the same names."""
  _empty(folder)
  _text('config.json', json.dumps({
      'architectures': ['UNet'], 'hidden_size': 64}))(folder)
  _text('dataset.json', json.dumps({
      'channel_names': {'0': 'CT'}, 'labels': {'background': 0}}))(folder)


# Name of a case -> function that damages a copy of a run in this way.
CASES: dict[str, Callable[[pathlib.Path], Any]] = {
    'an empty folder': _empty,
    "another tool's folder": _other_tool,
    'config.json is a folder': _as_folder('config.json'),
    **{f'{n} cut short': _truncate(n) for n in _FILES},
    **{f'{n} is empty': _text(n, '') for n in _FILES},
    **{f'{n} is binary': _bytes(n, bytes(range(256))) for n in _FILES},
    **{f'{n} is a list': _text(n, '[1, 2]') for n in _FILES},
    **{f'{n} is null': _text(n, 'null') for n in _FILES},
    **{f'{n} nests deeply': _text(n, '[' * 100_000) for n in _FILES},
    **{f'{n} has a huge number': _text(n, '1' * 5000) for n in _FILES},
    'config without a section': _edit('config.json', ['weighting'], ...),
    'config without a key': _edit('config.json', ['input', 'num_workers'], ...),
    'config of another seed': _edit('config.json', ['seed'], 7),
    'config with nan': _edit('config.json', ['weighting', 'learning_rate'],
                             math.nan),
    'config with an infinity': _edit(
        'config.json', ['optimizer', 'learning_rate'], math.inf),
    'config with text for a number': _edit(
        'config.json', ['train_steps'], 'many'),
    'config with a list for a section': _edit('config.json', ['input'], []),
    'config with a number for text': _edit('config.json', ['mapping'], 3),
    'config with true for a number': _edit('config.json', ['seed'], True),
    'config with a huge number': _edit('config.json', ['seed'], 10**300),
    'config with a negative batch': _edit(
        'config.json', ['input', 'eval_batch_size'], -8),
    'config with a batch of none': _edit(
        'config.json', ['input', 'eval_batch_size'], 0),
    'config without a step': _edit('config.json', ['train_steps'], 0),
    'config of another weighting': _edit(
        'config.json', ['weighting', 'name'], 'uniform'),
    'config with an unknown key': _edit('config.json', ['colour'], 'red'),
    'config with a dotted key': _edit('config.json', ['input', 'a.b'], 1),
    'config of an unknown network': _edit(
        'config.json', ['model', 'name'], 'resnext'),
    'config of a huge network': _edit(
        'config.json', ['model', 'options', 'features'], [10**8, 10**8]),
    'config with options of no network': _edit(
        'config.json', ['model', 'options', 'wings'], 2),
    'config of a newer version': _edit('config.json', ['version'], 99),
    'config with a version in words': _edit('config.json', ['version'], '2.0'),
    'run without sessions': _edit('run.json', ['sessions'], ...),
    'run with a session that is text': _edit('run.json', ['sessions', 0], 'x'),
    'run without a fingerprint': _edit(
        'run.json', ['sessions', 0, 'dataset_fingerprint'], ...),
    'run on too many threads': _edit(
        'run.json', ['sessions', 0, 'nproc'], '9' * 30),
    'run with versions as a list': _edit(
        'run.json', ['sessions', 0, 'versions'], ['jax']),
    'run of another set': _edit(
        'run.json', ['sessions', 0, 'dataset_fingerprint'], 'f' * 64),
    'set with one class': _edit('dataset.json', ['classes'], ['background']),
    'set with numbers for classes': _edit('dataset.json', ['classes'], [0, 1]),
    'set with a flat shape': _edit('dataset.json', ['image_shape'], [16]),
    'set with a huge shape': _edit(
        'dataset.json', ['image_shape'], [10**9, 10**9, 3]),
    'set with a strange preparation': _edit(
        'dataset.json', ['preparation'], {'axis': 'z'}),
    'set with fewer records': _edit(
        'dataset.json', ['num_records', 'train_weak'], 1),
    'set without records': _edit('dataset.json', ['num_records'], ...),
}


def _manifest(key, value):
  """Returns a function that sets a value in the manifest of every checkpoint.

  It also updates the sha256 that the manifest contains of itself, so that this
  hash does not reveal the forgery.
  """

  def spoil(folder):
    for path in (folder / 'checkpoints').glob('*/manifest.json'):
      manifest = json.loads(path.read_text('utf-8'))
      del manifest['sha256']
      if value is ...:
        del manifest[key]
      else:
        manifest[key] = value
      manifest['sha256'] = run_schema.digest(manifest)
      path.write_text(json.dumps(manifest), 'utf-8')

  return spoil


def _in_checkpoints(name, content):
  """Returns a function that replaces a file in every checkpoint.

  It also writes new manifests, which match the replaced file.
  """

  def spoil(folder):
    for path in (folder / 'checkpoints').glob('*/manifest.json'):
      manifest = json.loads(path.read_text('utf-8'))
      (path.parent / name).write_bytes(content)
      path.unlink()
      checkpoint_files.write_manifest(
          str(path.parent), manifest['step'], manifest['run_id'])

  return spoil


def _histories(content):
  """Returns a function that replaces the indicators of every evaluation."""

  def spoil(folder):
    for path in (folder / 'indicator_history').iterdir():
      path.write_bytes(content)

  return spoil


def _forge_histories(folder):
  """Replaces them by text, and the hashes of them in every checkpoint."""
  _histories(b'0.5')(folder)
  for path in (folder / 'checkpoints').glob('*/session.json'):
    session = json.loads(path.read_text('utf-8'))
    for file in session['indicator_history']:
      file['sha256'] = hashlib.sha256(b'0.5').hexdigest()
    _in_checkpoints('session.json', json.dumps(session).encode())(folder)


# The same for damaged checkpoints. These cases need a run that was really
# trained, since no other run has checkpoints.
CHECKPOINT_CASES: dict[str, Callable[[pathlib.Path], Any]] = {
    'no checkpoint': lambda folder: shutil.rmtree(folder / 'checkpoints'),
    'checkpoints is a file': lambda folder: (
        shutil.rmtree(folder / 'checkpoints'),
        (folder / 'checkpoints').write_text('')),
    'manifest without a format': _manifest('format', ...),
    'manifest with a format in words': _manifest('format', '1'),
    'manifest of a newer format': _manifest('format', 99),
    'manifest of another run': _manifest('run_id', 'f' * 64),
    'manifest with a list of files': _manifest('files', []),
    'structure is a list': _in_checkpoints('structure.json', b'[]'),
    'structure of another model': _in_checkpoints(
        'structure.json', b'{"params/0/kernel": [[3, 3], "float32"]}'),
    'structure is binary': _in_checkpoints('structure.json', b'\xff\x00'),
    'session is a list': _in_checkpoints('session.json', b'[]'),
    'session without a best': _in_checkpoints('session.json', b'{}'),
    'session with a strange best': _in_checkpoints(
        'session.json', b'{"best": {"step": "x"}, "lines": 3}'),
    'history is no archive': _in_checkpoints('history.npz', b'PK'),
    'session without a history': _in_checkpoints(
        'session.json', b'{"best": null, "lines": [], "pending": [], '
        b'"skipped_in_a_row": 0}'),
    'no indicators over time': lambda folder: shutil.rmtree(
        folder / 'indicator_history'),
    'indicators over time are text': _histories(b'0.5'),
    'forged indicators over time': _forge_histories,
    'state is not of Orbax': _in_checkpoints('state/_METADATA', b'{}'),
    'metrics.json is a list': _text('metrics.json', '[]'),
    'metrics.json without a sha256': _edit(
        'metrics.json', ['state_sha256'], ...),
}


def _predict(folder):
  model_card.write(predictor_lib.load(folder, checkpoint='best'), folder)


def _compare(folder):
  paths = cases_lib.find_files([folder, folder], 'test')
  seed_groups.find([folder, folder], paths)


def _reproduce(folder):
  # This is always refused, but only after all files of the run have been read.
  reproduce.reproduce(folder, folder)


def _resume(folder):
  """Opens a run as `experiments.train` does, but builds no training step."""
  config = run_folder.read_config(_RUN.value)
  dataset = input_pipeline.load_dataset(config.input.data_dir)
  store = run_folder.open_checkpoints(folder, config, dataset.fingerprint)
  run_folder.check_run(
      folder, config, dataset, step=max(store.steps(), default=0))
  built = parts.build_network(dataset, *pieces.unpack(config)[1:])
  restored = predictor_lib.restore(folder, dataset, built)
  run_log.Log(folder).restore(restored.session)
  indicator_history.Recorder(folder).resume(restored)


# Maps the names of binaries to a function that opens a run in the same way.
# `evaluate`, `predict` and `export` share one function.
BINARIES = {
    'evaluate, predict, export': _predict,
    'audit': observer.open_run,
    'compare': _compare,
    'reproduce': _reproduce,
    'train': _resume,
}


def look(
    call: Callable[[str], Any], folder: str
) -> tuple[bool, str]:
  """Opens a run and examines the outcome.

  Args:
    call: a function of `BINARIES`.
    folder: folder of the run.

  Returns:
    Whether the outcome is acceptable (success, or a refusal of one line), and
    the message of the refusal.
  """
  try:
    with contextlib.redirect_stderr(io.StringIO()):
      call(folder)
  # The binaries print errors of both types as one line.
  except (binary.UserError, OSError) as e:
    text = str(e)
    return '\n' not in text and len(text) <= 300, text
  except Exception as e:  # pylint: disable=broad-exception-caught
    return False, f'{type(e).__name__}: {e}'
  return True, ''


def spoiled(run: str, workdir: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields the name of each case and the folder of its damaged run.

  Each folder is deleted before the next one is made.
  """
  for number, (name, spoil) in enumerate((CASES | CHECKPOINT_CASES).items()):
    folder = workdir / f'run{number}'
    shutil.copytree(run, folder)
    spoil(folder)
    yield name, str(folder)
    shutil.rmtree(folder)


def main():
  logging.set_verbosity(logging.ERROR)
  workdir = pathlib.Path(_WORKDIR.value)
  workdir.mkdir(parents=True)
  wrong = refused = number = 0
  for name, folder in spoiled(_RUN.value, workdir):
    found = {b: look(call, folder) for b, call in BINARIES.items()}
    bad = [b for b, (is_good, _) in found.items() if not is_good]
    said = [text for _, text in found.values() if text]
    number, wrong = number + 1, wrong + bool(bad)
    refused += bool(said)
    print(f'{"WRONG" if bad else "ok":5s} {name}: refused by '
          f'{len(said)} of {len(found)}'
          f'{": " + said[0].replace(folder, "RUN") if said else ""}')
    for b in bad:
      print(f'      {b}: {found[b][1][:300]}')
  print(f'{number} folders, {refused} refused by some, {wrong} wrong')
  sys.exit(bool(wrong))


if __name__ == '__main__':
  flags.mark_flags_as_required(['run', 'workdir'])
  binary.run(main)
