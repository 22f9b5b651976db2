r"""Tests that every damage to a checkpoint, or to volumes, is detected.

python -m tests.long.corruption --num_corruptions=1000
python -m tests.long.corruption --num_corruptions=1000 --target=volumes
python -m tests.long.corruption --num_corruptions=1000 --damage=records

Damages the newest checkpoint of a run in random ways. After each damage, the
checkpoint must be refused with one warning that names it, and the state of the
previous checkpoint must be restored bit for bit. With --damage=records, it
damages the chunks of a set of whole volumes: opening and reading the set must
then end with an error of one line, or give the same voxels as before. Prints a
table by kind of damage. The exit code is 1 if any damage was not handled in
this way.
"""

# isort: off
import sys
from experiments import launcher
if __name__ == '__main__':
  launcher.pin_numerics(sys.argv)
# isort: on

import collections
import hashlib
import logging as python_logging
import os
import random
import shutil
import tempfile

from absl import flags
from absl import logging
from data_prep.records import volume_records

from experiments import binary
from experiments.building import corrections
from experiments.building import parts
from experiments.building import pieces
from experiments.building import volume_set
from experiments.saving import checkpoints as checkpoints_lib
from experiments.saving import run_folder
from experiments.training import trainer
from tests.long import tiny_runs

_NUM_CORRUPTIONS = flags.DEFINE_integer(
    'num_corruptions', 1000, 'Corruptions to try.', lower_bound=1)
_DAMAGE = flags.DEFINE_enum(
    'damage', 'checkpoint', ('checkpoint', 'records'), 'What is damaged.')
_SEED = flags.DEFINE_integer('seed', 0, 'Of the corruptions.')


def _paths(folder):
  return sorted(
      os.path.join(parent, name)
      for parent, _, names in os.walk(folder) for name in names)


def _flip_bit(rng, newest, unused_older):
  path = rng.choice([p for p in _paths(newest) if os.path.getsize(p)])
  with open(path, 'r+b') as f:
    position = rng.randrange(os.path.getsize(path))
    f.seek(position)
    byte = f.read(1)[0]
    f.seek(position)
    f.write(bytes([byte ^ (1 << rng.randrange(8))]))
  return path


def _truncate(rng, newest, unused_older):
  path = rng.choice([p for p in _paths(newest) if os.path.getsize(p)])
  os.truncate(path, rng.randrange(os.path.getsize(path)))
  return path


def _delete(rng, newest, unused_older):
  path = rng.choice(_paths(newest))
  os.remove(path)
  return path


def _swap(rng, newest, unused_older):
  while True:
    a, b = rng.sample(_paths(newest), 2)
    with open(a, 'rb') as f, open(b, 'rb') as g:
      if f.read() != g.read():
        break
  os.rename(a, a + '.tmp')
  os.rename(b, a)
  os.rename(a + '.tmp', b)
  return f'{a} and {b}'


def _stale_file(rng, newest, older):
  """Replaces a file of the newest checkpoint with that of the older one."""
  names = [
      n for n in (os.path.relpath(p, older) for p in _paths(older))
      if os.path.exists(os.path.join(newest, n))
      and _read(os.path.join(newest, n)) != _read(os.path.join(older, n))]
  name = rng.choice(names)
  shutil.copy(os.path.join(older, name), os.path.join(newest, name))
  return name


def _stale_folder(unused_rng, newest, older):
  shutil.rmtree(newest)
  shutil.copytree(older, newest)
  return newest


def _added_file(rng, newest, unused_older):
  folder = os.path.dirname(rng.choice(_paths(newest)))
  path = os.path.join(folder, f'extra{rng.randrange(1000)}')
  with open(path, 'wb') as f:
    f.write(rng.randbytes(10))
  return path


def _zeroed_block(rng, newest, unused_older):
  """Overwrites a part of a file with zeros.

  File systems leave zeros in place of blocks that were lost in a crash.
  """
  path = rng.choice([p for p in _paths(newest) if any(_read(p))])
  content = bytearray(_read(path))
  while True:
    start = rng.randrange(len(content))
    stretch = slice(start, start + rng.randrange(1, 4097))
    if any(content[stretch]):
      break
  content[stretch] = bytes(len(content[stretch]))
  with open(path, 'wb') as f:
    f.write(content)
  return path


def _read(path):
  with open(path, 'rb') as f:
    return f.read()


_KINDS = {
    'checkpoint': (_flip_bit, _truncate, _delete, _swap, _stale_file,
                   _stale_folder, _added_file, _zeroed_block),
    'records': (_flip_bit, _truncate, _delete, _swap, _added_file,
                _zeroed_block)}


class _Warnings(python_logging.Handler):

  def __init__(self):
    super().__init__()
    self.lines = []

  def emit(self, record):
    self.lines.append(record.getMessage())


def _checkpoints(folder):
  """Trains a run.

  Returns:
    Its newest checkpoint, the one before, and a function that tells whether the
    older one is restored, by outcome.
  """
  config = tiny_runs.config(
      tiny_runs.prepare(folder), train_steps=8, checkpoint_every_steps=4,
      eval_every_steps=8)
  workdir = os.path.join(folder, 'run')
  trainer.train_and_evaluate(config, workdir)
  data, *others = pieces.unpack(config)
  dataset = corrections.load(data, workdir)
  like = parts.build_network(dataset, *others).init_fn()
  store = run_folder.open_checkpoints(workdir, config, dataset.fingerprint)
  newest, older = store.steps()
  intact = checkpoints_lib.state_sha256(store.restore(like, step=older).state)
  root = os.path.join(workdir, 'checkpoints')
  newest, older = (os.path.join(root, str(s)) for s in (newest, older))
  warnings = _Warnings()
  logging.get_absl_logger().addHandler(warnings)
  logging.get_absl_handler().setLevel(python_logging.CRITICAL)

  def check():
    warnings.lines.clear()
    restored = store.restore(like)
    return {
        'noticed': restored.step == int(os.path.basename(older)),
        'older state intact':
            checkpoints_lib.state_sha256(restored.state) == intact,
        'one line': len(warnings.lines) == 1
                    and '\n' not in warnings.lines[0]
                    and f'checkpoints/{os.path.basename(newest)}'
                    in warnings.lines[0],
    }

  return newest, older, check


def _records(folder):
  """Prepares a set of volumes; returns what `_checkpoints` does."""
  data_dir = tiny_runs.prepare(folder)

  def read():
    dataset = volume_set.load(data_dir)
    digest = hashlib.sha256(dataset.fingerprint.encode())
    for name, records in dataset.splits.items():
      for record in records:
        for field in ('image', 'label', 'truth'):
          digest.update(record[field].tobytes())
        digest.update(record.locations().tobytes())
        if name in ('val', 'test'):
          digest.update(record.reference().tobytes())
    return digest.hexdigest()

  intact = read()

  def check():
    try:
      return {'noticed or harmless': read() == intact, 'one line': True}
    except binary.UserError as error:
      return {'noticed or harmless': True, 'one line': '\n' not in str(error)}
    except Exception as error:  # A user would see a traceback.
      print(repr(error), flush=True)
      return {'noticed or harmless': True, 'one line': False}

  return os.path.join(data_dir, volume_records.CHUNKS), '', check


def main():
  folder = tempfile.mkdtemp(prefix='corruption_')
  if _DAMAGE.value == 'records':
    flags.FLAGS.target = 'volumes'
    damaged, older, check = _records(folder)
  else:
    damaged, older, check = _checkpoints(folder)
  backup = os.path.join(folder, 'backup')
  shutil.copytree(damaged, backup)

  rng = random.Random(_SEED.value)
  kinds = _KINDS[_DAMAGE.value]
  table = {k.__name__.strip('_'): collections.Counter() for k in kinds}
  columns = ['tried']
  for i in range(_NUM_CORRUPTIONS.value):
    kind = kinds[i % len(kinds)]
    counts = table[kind.__name__.strip('_')]
    what = kind(rng, damaged, older)
    ok = {'tried': True} | check()
    columns = list(ok)
    counts.update({name: int(value) for name, value in ok.items()})
    if not all(ok.values()):
      print(f'not as promised: {kind.__name__} of {what}: {ok}', flush=True)
    shutil.rmtree(damaged)
    shutil.copytree(backup, damaged)
    if (i + 1) % 100 == 0:
      print(f'{i + 1} of {_NUM_CORRUPTIONS.value}', flush=True)
  shutil.rmtree(folder)

  print('\n| damage | ' + ' | '.join(columns) + ' |')
  print('|' + '---|' * (1 + len(columns)))
  for name, counts in table.items():
    print(f'| {name} | ' + ' | '.join(str(counts[c]) for c in columns) + ' |')
  total = sum(table.values(), collections.Counter())
  print('| all | ' + ' | '.join(str(total[c]) for c in columns) + ' |')
  if any(total[c] != total['tried'] for c in columns):
    sys.exit(1)


if __name__ == '__main__':
  binary.run(main)
